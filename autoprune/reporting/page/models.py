"""What is said of the models that a run returned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoprune.artifacts.result import Result
from autoprune.core.budget import Budget
from autoprune.core.limit import limit_text
from autoprune.reporting.comparisons import comparisons
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.policy import policy_figure
from autoprune.reporting.front import columns, front_rows
from autoprune.reporting.goal import LIMITS, ended_line, goal_rows, limit_rows
from autoprune.reporting.page.parts import Chart, Table, Tile
from autoprune.reporting.rows import STEPS, budget_rows, check_rows, step_rows
from autoprune.reporting.story import checks_passed
from autoprune.reporting.text import ms_text
from autoprune.reporting.units import unit_facts


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """What is said of one model that was returned; ``name`` is empty where there is one alone."""

    name: str
    result: Result
    comparisons: Sequence[Any]
    budget: Sequence[Any]
    checks: Sequence[Any]
    drops: Sequence[Any]
    limits: Table | None
    ended: str
    steps: Table | None
    policy: Chart
    units: Table


def tiles_of(run: RunEvidence) -> list[Tile]:
    """Return the figures at a glance of a run."""
    if run.result is None:
        return _tiles_of_search(run)
    result = run.result
    dense, pruned, yardstick = result.dense, result.pruned, result.yardstick
    qualities = (dense.quality_test, pruned.quality_test)
    before, after = map(yardstick.text, qualities)
    quality = Tile(
        label=f"{result.metric}, test split",
        value=after,
        before=f"dense {before}: {yardstick.change(*qualities)}",
    )
    met = checks_passed(result)
    limits = Budget.parse(result.budget).limits.items()
    checks = Tile(
        label="budget and checks",
        value="passed" if met else "FAILED",
        before=", ".join(limit_text(*one) for one in limits),
        good=met,
    )
    return [quality, *_tiles_of_costs(result), checks]


def _tiles_of_search(run: RunEvidence) -> list[Tile]:
    found = [Tile(label="evaluations", value=str(len(run.trials)))]
    scores = [one.score for one in run.trials if one.counts and one.score is not None]
    if scores and run.one_for_all:
        label = "best score" if run.told else "best score so far"
        found.append(Tile(label=label, value=f"{min(scores):.4g}"))
    if run.front is not None:
        found.append(Tile(label="models on the front", value=str(len(run.front.points))))
    return found


def _tiles_of_costs(result: Result) -> list[Tile]:
    """Return MACs, parameters, size and latencies."""
    costs = comparisons(result)[2:5]
    exact = [
        Tile(label=one.label, value=one.pruned, before=f"of {one.dense}: {one.change}")
        for one in costs
    ]
    return exact + [
        Tile(
            label=f"latency, {target}",
            value=ms_text(one.pruned_ms),
            before=f"of {ms_text(one.dense_ms)}: {one.ratio:.1%} of dense",
        )
        for target, one in result.checks.latency.items()
    ]


def model_part(run: RunEvidence, name: str, result: Result, at: str) -> ModelPart:
    """Return what is said of a model; ``at`` begins the names of its places on the page."""
    units = unit_facts(result, run.sensed, run.ledger)
    names = [name for name, _ in units[0].told] if units else []
    goal, is_share = result.goal, result.is_share
    return ModelPart(
        name=name,
        result=result,
        comparisons=comparisons(result),
        budget=budget_rows(result),
        checks=check_rows(result),
        drops=goal_rows(goal, is_share) if goal else [],
        limits=Table(LIMITS, limit_rows(goal, is_share), LIMITS[1:4]) if goal else None,
        ended=ended_line(goal, is_share) if goal else "",
        steps=Table(STEPS, step_rows(result), STEPS[:4]) if result.steps else None,
        policy=Chart(f"{at}-policy", "Policy by unit", policy_figure(units)),
        units=Table(
            ("unit", *names),
            [(one.unit, *(text for _, text in one.told)) for one in units],
            names[1:],
        ),
    )


def front_table(run: RunEvidence) -> Table | None:
    """Return the points of a front, None of a run that searched none."""
    if run.front is None:
        return None
    names = columns(run.front)
    return Table(names, front_rows(run.front), names[1:-1])
