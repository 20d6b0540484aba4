"""What policies cost in a search, latency included, and what may be chosen."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from autoprune.agent.feasible.at_limits import projections, spread
from autoprune.agent.feasible.encoding import levels_of
from autoprune.agent.feasible.parts import check_parts, evenly_zeroed, inside_parts, patterns_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.latency.search import TargetLatency
from autoprune.agent.latency.tables import allowed, build_tables
from autoprune.agent.request import Request
from autoprune.agent.samplers.anchors import anchors
from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY
from autoprune.core.progress import Progress
from autoprune.cost.model import CostModel, Latency
from autoprune.space.schema import UnitSpace
from autoprune.storage.shared import shared_database
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan

MARGIN = 0.1  # of a limit on latency that is left free at most; else the error of the fit
NEAR = 4  # projected policies that the fit is made exact at, near the limit


@dataclass(frozen=True)
class Pricing:
    """How policies are priced.

    Args:
        projections: What is feasible: inside the budget, or at each limit of a front, the
            tightest first. Limits on the way to a drop come later, the highest is here.
        latencies: What is known of the model's latency, one for each target of the budget.
    """

    projections: Sequence[Projection]
    latencies: Sequence[TargetLatency]

    @property
    def projection(self) -> Projection:
        """What is feasible at all."""
        return self.projections[-1]

    def inside(self, budget: Budget) -> Projection:
        """Return what is feasible inside another budget on the same costs.

        Raises:
            BudgetError: If it cannot be reached, or the dense model meets it.
        """
        widest = self.projection
        return _kept_away(Projection(widest.cost, widest.spaces, budget), self.latencies)

    def saved(self) -> dict[str, Any]:
        """Return what latency is priced by, by target, as plain JSON types."""
        return {str(one.meter.target): one.saved() for one in self.latencies}


def priced(request: Request, plan: Plan, inputs: Inputs, saved: Mapping[str, Any]) -> Pricing:
    """Return what is feasible; with limits on latency, measure what prices it first.

    Args:
        request: The request.
        plan: The plan.
        inputs: Arguments of one forward.
        saved: What an earlier session of the run saved; empty if there was none.

    Raises:
        InputError: If a target cannot run here, or the budget cannot be met.
    """
    targets = request.budget.targets
    if not targets:
        spaces = allowed(request.space, plan)
        return Pricing(_projections(request, plan, {}, spaces), ())
    request.progress(Progress(stage="latency", done=0, total=1))
    with closing(shared_database(request.database)) as database:
        latencies = [
            TargetLatency.of(request.model, plan, inputs, target, database) for target in targets
        ]
        if saved:
            for one in latencies:
                one.load(saved[str(one.meter.target)])
            spaces = allowed(request.space, plan, [one.steps for one in latencies])
        else:
            spaces = build_tables(
                latencies, plan, request.space, request.progress, seed=request.seed
            )
            for one in latencies:
                if not request.budget.limits[f"{LATENCY}{one.meter.target}"].relative:
                    one.take_pace()
        by_target = {str(one.meter.target): one.model for one in latencies if one.model}
        found = _projections(request, plan, by_target, spaces)
        if not saved:
            found = _fitted_near(found, latencies, plan, request)
    return Pricing([_kept_away(one, latencies) for one in found], latencies)


def _kept_away(projection: Projection, latencies: Sequence[TargetLatency]) -> Projection:
    """Aim below limits on latency by what their fit is wrong by."""
    for one in latencies:
        assert one.model is not None
        projection.keep_away(f"{LATENCY}{one.meter.target}", min(one.model.fit.error, MARGIN))
    return projection


def _projections(
    request: Request,
    plan: Plan,
    latencies: Mapping[str, Latency],
    spaces: Mapping[str, UnitSpace],
) -> list[Projection]:
    budget, patterns = request.budget, patterns_of(spaces)
    cost = CostModel(request.model, plan, latencies, parts=budget.parts, patterns=patterns)
    check_parts(request.model, budget, cost.dense)
    spaces = evenly_zeroed(inside_parts(spaces, budget, plan, cost), budget, plan)
    if request.tolerance:
        return spread(request.tolerance.cost, budget, cost, spaces)
    return projections(request.pareto, request.points, budget, cost, spaces)


def _fitted_near(
    found: Sequence[Projection],
    latencies: Sequence[TargetLatency],
    plan: Plan,
    request: Request,
) -> list[Projection]:
    """Measure plain policies at the limits, where the fit matters, and project anew."""
    widest = found[-1]
    plain = [levels_of(p, widest.spaces) for p in anchors(plan, widest.spaces)]
    near = [list({str(p): p for p in map(one.project, plain)}.values())[:NEAR] for one in found]
    policies = [
        {unit: widest.spaces[unit].kept[at] for unit, at in levels.items()}
        for own in near
        for levels in own
    ]
    for latency in latencies:
        latency.fit(policies, request.progress)
    return _projections(request, plan, widest.cost.latencies, widest.spaces)
