"""One model under one budget: what is feasible, and what scores it."""

from dataclasses import dataclass

import torch
from torch import nn

from autoprune.agent.projection import Projection
from autoprune.core.budget import Budget
from autoprune.core.policy import Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.evaluation.importance import rank_atoms
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.scorer import Scorer
from autoprune.space.loader import load_space
from autoprune.surgery.discover import plan_of
from autoprune.surgery.plan import Plan
from benchmarks.proxy.models import dense, task


class _Fast(Scorer):
    """Lays tensors out as CPUs compute fastest: depthwise convolutions take half the time."""

    def _built(self, dense: nn.Module, policy: Policy) -> nn.Module:
        return super()._built(dense, policy).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Group:
    """What policies of one model under one budget share.

    Args:
        plan: The model's plan.
        projection: What is feasible.
        scorer: Scores by divergence, so that loss and quality come along.
    """

    plan: Plan
    projection: Projection
    scorer: Scorer

    @classmethod
    def of(cls, model: str, macs: str) -> "Group":
        """Return the group of a model and a limit like ``50%``."""
        network, data = dense(model), task()
        images, _ = next(data.batches("search"))
        plan = plan_of(network, [images[:2]])
        cost = CostModel(network, plan)
        space = load_space("default")
        projection = Projection(
            cost, space.resolve(plan.atoms, plan.kinds), Budget.parse(f"macs={macs}")
        )
        recovery = Recovery(score_by="kl")
        with isolated(0, data.loader("train")):
            importance = rank_atoms(
                network, plan, data, space.all_methods, recovery.calibration_batches, "cpu"
            )
        scorer = _Fast(network, plan, importance, cost, data, recovery, seed=0, device="cpu")
        return cls(plan, projection, scorer)
