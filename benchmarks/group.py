"""One model under one budget: what is feasible, and what scores it."""

from dataclasses import dataclass

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.preparing.prepare import ranked
from autoprune.core.budget import Budget
from autoprune.core.policy import Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.evaluation.measuring.measure import Measurement, measure
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import SearchSpace
from autoprune.surgery.discover import plan_of
from autoprune.surgery.plan import Plan
from benchmarks.networks import dense, task


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
    def of(cls, model: str, macs: str, space: SearchSpace) -> "Group":
        """Return the group of a model, a limit like ``50%``, and what may be chosen."""
        network, data = dense(model), task()
        images, _ = next(data.batches("search"))
        plan = plan_of(network, [images[:2]])
        cost = CostModel(network, plan)
        projection = Projection(
            cost, space.resolve(plan.atoms, plan.kinds), Budget.parse(f"macs={macs}")
        )
        recovery = Recovery(score_by="kl")
        scorer = ranked(network, plan, cost, data, space.all_methods, recovery, 0, "cpu")
        return cls(plan, projection, scorer)


def tested_after(scorer: Scorer, policy: Policy, steps: int) -> tuple[Measurement, float]:
    """Recover a policy for ``steps``; return what it is worth on test images, and the seconds."""
    candidate = scorer.candidate(policy, steps)
    candidate.reach(steps)
    tested = measure(candidate.model, scorer.task, "test", scorer.device)
    return tested, candidate.seconds
