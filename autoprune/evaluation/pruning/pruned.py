"""The pruned model of a policy, as it is cut."""

from torch import nn

from autoprune.core.policy import Policy
from autoprune.evaluation.pruning.importance import Importance
from autoprune.evaluation.pruning.sparsify import sparsify
from autoprune.surgery.apply import apply
from autoprune.surgery.plan import Plan


def pruned(dense: nn.Module, plan: Plan, importance: Importance, policy: Policy) -> nn.Module:
    """Return a copy of ``dense`` as a policy cuts it, before any recovery.

    Args:
        dense: The dense model; it is left as it is.
        plan: Its plan.
        importance: Which atoms go first.
        policy: What is cut, and what is set to zero.
    """
    atoms = importance.removed(policy)
    model = apply(dense, plan, atoms)
    sparsify(model, plan, policy, importance, plan.cut(atoms))
    return model
