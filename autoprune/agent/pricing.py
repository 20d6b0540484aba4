"""What policies cost in a search, latency included, and what may be chosen."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from autoprune.agent.anchors import anchors
from autoprune.agent.encoding import levels_of
from autoprune.agent.latency import TargetLatency
from autoprune.agent.projection import Projection
from autoprune.agent.request import Request
from autoprune.core.progress import Progress
from autoprune.cost.model import CostModel
from autoprune.errors import ModelError
from autoprune.space.schema import UnitSpace
from autoprune.storage.shared import shared_database
from autoprune.surgery.plan import Plan

NEAR = 4  # projected policies that the fit is made exact at, near the limit


@dataclass(frozen=True)
class Pricing:
    """How policies are priced.

    Args:
        projection: What is feasible.
        latencies: What is known of the model's latency, one for each target of the budget.
    """

    projection: Projection
    latencies: Sequence[TargetLatency]

    def saved(self) -> dict[str, Any]:
        """Return what latency is priced by, by target, as plain JSON types."""
        return {str(one.meter.target): one.saved() for one in self.latencies}


def priced(
    request: Request, plan: Plan, inputs: Sequence[Any], saved: Mapping[str, Any]
) -> Pricing:
    """Return what is feasible; with limits on latency, measure what prices it first.

    Args:
        request: The request.
        plan: The plan.
        inputs: Positional arguments of one forward.
        saved: What an earlier session of the run saved; empty if there was none.

    Raises:
        InputError: If a target cannot run here, or the budget cannot be met.
    """
    targets = request.budget.targets
    if not targets:
        projection = Projection(
            CostModel(request.model, plan), _spaces(request, plan, (1, 1)), request.budget
        )
        return Pricing(projection, ())
    request.progress(Progress(stage="latency", done=0, total=1))
    with closing(shared_database(request.database)) as database:
        latencies = [
            TargetLatency.of(request.model, plan, inputs, target, database) for target in targets
        ]
        if saved:
            models = [one.load(saved[str(one.meter.target)]) for one in latencies]
            spaces = _spaces(request, plan, _coarsest([one.steps for one in latencies]))
        else:
            spaces = _spaces(request, plan, _coarsest([one.find_steps() for one in latencies]))
            kept = kept_of(plan, spaces)
            models = [one.build(kept, request.progress, seed=request.seed) for one in latencies]
        by_target = {str(one.meter.target): m for one, m in zip(latencies, models, strict=True)}
        projection = Projection(CostModel(request.model, plan, by_target), spaces, request.budget)
        if not saved:
            projection = _fitted_near(projection, latencies, plan, request)
    return Pricing(projection, latencies)


def kept_of(plan: Plan, spaces: dict[str, UnitSpace]) -> dict[str, tuple[int, ...]]:
    """Return the atoms kept at each level of each unit; those of no space are whole."""
    return {
        unit: spaces[unit].kept if unit in spaces else (atoms,)
        for unit, atoms in plan.atoms.items()
    }


def _coarsest(steps: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(one[0] for one in steps), max(one[1] for one in steps)


def _spaces(request: Request, plan: Plan, steps: tuple[int, int]) -> dict[str, UnitSpace]:
    spaces = request.space.resolve(plan.atoms, plan.kinds, steps)
    if not spaces:
        raise ModelError(
            "The search space protects every unit of this model, or its methods fit none. Free "
            "some of them, or allow methods of another structure."
        )
    return spaces


def _fitted_near(
    projection: Projection, latencies: Sequence[TargetLatency], plan: Plan, request: Request
) -> Projection:
    """Measure plain policies at the limit, where the fit matters, and project anew."""
    plain = [levels_of(p, projection.spaces) for p in anchors(plan, projection.spaces)]
    near = {str(found): found for found in map(projection.project, plain)}
    policies = [
        {unit: projection.spaces[unit].kept[at] for unit, at in levels.items()}
        for levels in list(near.values())[:NEAR]
    ]
    for latency in latencies:
        latency.fit(policies, request.progress)
    return Projection(
        CostModel(request.model, plan, projection.cost.latencies),
        projection.spaces,
        request.budget,
    )
