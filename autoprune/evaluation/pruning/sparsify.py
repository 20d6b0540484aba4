"""Set single weights of a pruned model to zero, as a policy says."""

from torch import nn

from autoprune.core.policy import Choice, Policy
from autoprune.core.structure import split_method
from autoprune.evaluation.pruning.importance import Importance
from autoprune.methods import ranking_key
from autoprune.methods.base import Tensors
from autoprune.surgery.apply import cutter
from autoprune.surgery.plan import Plan
from autoprune.surgery.sparse import input_dim, n_m_mask, set_to_zero, unstructured_masks
from autoprune.surgery.units import Cut


def sparsify(
    model: nn.Module, plan: Plan, policy: Policy, importance: Importance, cut: Cut
) -> None:
    """Zero single weights of ``model`` in place, and keep them at zero.

    Sparsities are shares of what the cut has left. Where several choices concern a tensor, what
    any of them removes is zero.

    Args:
        model: The model after ``cut``.
        plan: The plan of the dense model.
        policy: Choices for units of single weights; others are left aside.
        importance: Scores of the dense model's weights.
        cut: What was cut from the dense model.
    """
    left = {name for name, _ in model.named_parameters()}
    masks: Tensors = {}
    for unit, choice in policy.items():
        if unit in plan.weights:
            scores = importance.elements[ranking_key(choice.method)]
            own = {
                name: cutter(cut.positions.get(name, {}))(scores[name])
                for name in plan.weights[unit].members
                if name in left
            }
            found = _masks(model, own, choice)
            masks = {**masks, **{n: m & masks[n] if n in masks else m for n, m in found.items()}}
    if masks:
        set_to_zero(model, masks)


def _masks(model: nn.Module, scores: Tensors, choice: Choice) -> Tensors:
    pattern = split_method(choice.method)[0].pattern
    if pattern is None:
        return unstructured_masks(scores, choice.sparsity) if scores else {}
    return {name: n_m_mask(s, *pattern, input_dim(model, name)) for name, s in scores.items()}
