"""What the page of a report says of one run, as rows and figures for its template."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from autoprune.artifacts.result import Result, Rolledback
from autoprune.core.policy import Policy
from autoprune.reporting.citations import cited
from autoprune.reporting.evidence import LatencyTable, RunEvidence
from autoprune.reporting.figures.front import front_figure
from autoprune.reporting.figures.history import history_figure
from autoprune.reporting.figures.latency import latency_figure
from autoprune.reporting.figures.policy import policy_figure
from autoprune.reporting.figures.predictions import calibration_figure, reliability_figure
from autoprune.reporting.figures.rollback import rollback_figure
from autoprune.reporting.figures.spending import spending_figure
from autoprune.reporting.front import columns, front_rows
from autoprune.reporting.goal import LIMITS, ended_line, goal_rows, limit_rows
from autoprune.reporting.ledger_terminal import changes_of, totals_line, word_of
from autoprune.reporting.reproduce import command
from autoprune.reporting.rows import (
    STEPS,
    budget_rows,
    check_rows,
    comparisons,
    effort_line,
    step_rows,
)
from autoprune.reporting.story import Story, story_of
from autoprune.reporting.text import (
    change_text,
    count_text,
    duration_text,
    quality_text,
    share_text,
)
from autoprune.reporting.units import unit_facts

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """A figure on the page.

    Args:
        id: Its place, unique on the page.
        title: What it shows.
        figure: The figure.
        note: How to read it.
    """

    id: str
    title: str
    figure: go.Figure
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table on the page; of ``columns`` those in ``right`` are numbers."""

    columns: Sequence[str]
    rows: Rows
    right: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure at a glance: what it is, its value, what it is beside, ``good`` if judged."""

    label: str
    value: str
    before: str = ""
    good: bool | None = None


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


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What is said of one run; parts that are not there are None or empty.

    Args:
        id: Its anchor, unique on the page.
        run: The evidence.
        story: The sentences at the top.
        tiles: Figures at a glance.
        models: The models that were returned.
        front: The points of a front.
        left_out: Limits without a point, and why.
        search: Front and history.
        rollback: The timeline of decisions.
        decisions: The same as a table.
        rolled_back: What it came to.
        predictions: Calibration and reliability.
        effort: What the search cost and predictions were worth.
        latency: Tables against what was measured.
        devices: On what.
        spent: Where the time went, a figure and a table.
        finalists: What was trained for longer.
        command: How it is done again.
        facts: Versions, seeds and fingerprints.
        papers: What was used, and the paper.
    """

    id: str
    run: RunEvidence
    story: Story
    tiles: Sequence[Tile]
    models: Sequence[ModelPart]
    front: Table | None
    left_out: Sequence[Any]
    search: Sequence[Chart]
    rollback: Chart | None
    decisions: Table | None
    rolled_back: str
    predictions: Sequence[Chart]
    effort: str
    latency: Chart | None
    devices: Table | None
    spent: tuple[Chart, Table]
    finalists: Table | None
    command: str
    facts: Sequence[tuple[str, str]]
    papers: Sequence[tuple[str, str]]
    settings: Mapping[str, Any] = field(default_factory=dict)


def run_page(run: RunEvidence, at: str) -> RunPage:
    """Return what is said of a run; ``at`` begins the names of all places on the page."""
    told = run.told
    results = {"": run.result} if run.result else dict(run.points)
    return RunPage(
        id=at,
        run=run,
        story=story_of(run),
        tiles=_tiles(run),
        models=[
            _model(run, name, one, f"{at}-m{i}") for i, (name, one) in enumerate(results.items())
        ],
        front=_front(run),
        left_out=run.front.left_out if run.front else (),
        search=list(_search(run, at)),
        rollback=_rollback(run, at),
        decisions=_decisions(run),
        rolled_back=totals_line(Rolledback.of(run.ledger)),
        predictions=list(_predictions(run, at)),
        effort=effort_line(told) if told else "",
        latency=_latency(run, at),
        devices=_devices(run),
        spent=_spent(run, at),
        finalists=_finalists(run),
        command=command(run),
        facts=list(_facts(run)),
        papers=cited(run),
        settings=run.settings,
    )


def _tiles(run: RunEvidence) -> list[Tile]:
    if run.result is None:
        found = [Tile(label="evaluations", value=str(len(run.trials)))]
        best = min((one.score for one in run.trials if one.score is not None), default=None)
        if best is not None:
            label = "best score" if run.told else "best score so far"
            found.append(Tile(label=label, value=f"{best:.4g}"))
        if run.front is not None:
            found.append(Tile(label="models on the front", value=str(len(run.front.points))))
        return found
    result, rows = run.result, {row.label: row for row in comparisons(run.result)}
    dense, pruned, higher = result.dense, result.pruned, result.higher_is_better
    met = result.checks.budget_met and result.checks.sliced_equals_masked
    costs = [
        Tile(label=label, value=row.pruned, before=f"of {row.dense}: {row.change}")
        for label, row in list(rows.items())[2:5]
    ]
    times = [
        Tile(
            label=f"latency, {target}",
            value=f"{one.pruned_ms:.3g} ms",
            before=f"of {one.dense_ms:.3g} ms: {one.ratio:.1%} of dense",
        )
        for target, one in result.checks.latency.items()
    ]
    quality = Tile(
        label=f"{result.metric}, test split",
        value=quality_text(pruned.quality_test, higher),
        before=f"dense {quality_text(dense.quality_test, higher)}: "
        f"{change_text(dense.quality_test, pruned.quality_test, higher)}",
    )
    checks = Tile(
        label="budget and checks",
        value="passed" if met else "FAILED",
        before=", ".join(f"{cost} {limit}" for cost, limit in result.budget.items()),
        good=met,
    )
    return [quality, *costs, *times, checks]


def _model(run: RunEvidence, name: str, result: Result, at: str) -> ModelPart:
    units = unit_facts(result, run.sensed, run.ledger)
    names = [name for name, _ in units[0].told] if units else []
    goal = result.goal
    return ModelPart(
        name=name,
        result=result,
        comparisons=comparisons(result),
        budget=budget_rows(result),
        checks=check_rows(result),
        drops=goal_rows(goal) if goal else [],
        limits=Table(LIMITS, limit_rows(goal), LIMITS[1:4]) if goal else None,
        ended=ended_line(goal) if goal else "",
        steps=Table(STEPS, step_rows(result), STEPS[:4]) if result.steps else None,
        policy=Chart(f"{at}-policy", "Policy by unit", policy_figure(units)),
        units=Table(
            ("unit", *names),
            [(one.unit, *(text for _, text in one.told)) for one in units],
            names[1:],
        ),
    )


def _front(run: RunEvidence) -> Table | None:
    if run.front is None:
        return None
    names = columns(run.front)
    return Table(names, front_rows(run.front), names[1:-1])


def _search(run: RunEvidence, at: str) -> Iterator[Chart]:
    if not run.trials:
        return
    cost = run.front.cost if run.front else "macs"
    yield Chart(
        f"{at}-front",
        f"{run.metric} against {'MACs' if cost == 'macs' else cost}",
        front_figure([run], cost),
        "Small marks were scored after a short recovery, the large one was fine-tuned to the end: "
        "the two qualities do not compare directly.",
    )
    yield Chart(
        f"{at}-history",
        "History",
        history_figure(run),
        "In the order in which evaluations came to their end. What has no score stands in the "
        "row below the others.",
    )


def _rollback(run: RunEvidence, at: str) -> Chart | None:
    if not run.ledger:
        return None
    note = (
        "Regret is the score that a decision gave away against the best alternative that costs as "
        "much: above zero it did harm. It is taken back if a paired test says that this is not "
        "noise."
    )
    return Chart(f"{at}-rollback", "Rollback timeline", rollback_figure(run.ledger), note)


def _decisions(run: RunEvidence) -> Table | None:
    if not run.ledger:
        return None
    numbers = ("regret", "expected", "p", "needed below")
    rows = [
        (
            str(at),
            "; ".join(changes_of(one)),
            _number(one.regret),
            _number(one.expected_regret),
            "" if one.p_value is None else f"{one.p_value:.2g}",
            f"{one.threshold:.2g}" if one.threshold else "",
            word_of(one.outcome),
        )
        for at, one in enumerate(run.ledger, 1)
    ]
    return Table(("", "decision, to what instead", *numbers, "outcome"), rows, ("", *numbers))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def _predictions(run: RunEvidence, at: str) -> Iterator[Chart]:
    if any(one.prediction for one in run.trials):
        yield Chart(
            f"{at}-calibration",
            "Predicted and measured scores",
            calibration_figure(run.trials),
            "Each score was predicted before it was measured. Nine in ten should lie inside "
            "their interval.",
        )
    if any((one.record or {}).get("count") for one in run.trials):
        yield Chart(
            f"{at}-reliability",
            "Rank correlation and coverage as the search went on",
            reliability_figure(run.trials),
            "Of all predictions before an evaluation. Below the lower dotted line predictions "
            "are recorded and decide nothing, once there are eight of them.",
        )


def _latency(run: RunEvidence, at: str) -> Chart | None:
    checks = run.result.checks.latency if run.result else {}
    if not any(one.target in checks for one in run.latency):
        return None
    note = "Measured in pairs with the dense model; the bar is the 95% interval of their ratio."
    return Chart(
        f"{at}-latency", "Table and measurement", latency_figure(run.latency, checks), note
    )


def _devices(run: RunEvidence) -> Table | None:
    if not run.latency:
        return None
    names = (
        *("target", "device", "fingerprint", "by the table", "measured"),
        *("layers timed", "whole models", "error of the fit"),
    )
    rows = [
        (
            one.target,
            ", ".join(one.device[key] for key in ("cpu", "gpu") if one.device.get(key)),
            one.fingerprint[:12],
            "" if one.predicted_ms is None else f"{one.predicted_ms:.3g} ms",
            _measured(run, one),
            str(one.layers),
            str(one.models),
            f"{one.error:.1%}",
        )
        for one in run.latency
    ]
    return Table(names, rows, names[3:])


def _measured(run: RunEvidence, table: LatencyTable) -> str:
    check = run.result.checks.latency.get(table.target) if run.result else None
    return "" if check is None else f"{check.pruned_ms:.3g} ms"


def _spent(run: RunEvidence, at: str) -> tuple[Chart, Table]:
    names = ("part", "seconds", "sample forwards")
    rows = [
        (
            one.part,
            "not written down" if one.seconds is None else f"{one.seconds:,.1f}",
            "" if one.sample_forwards is None else f"{count_text(round(one.sample_forwards))}",
        )
        for one in run.spent
    ]
    chart = Chart(f"{at}-spent", "Seconds and sample forwards by part", spending_figure(run.spent))
    return chart, Table(names, rows, names[1:])


def _finalists(run: RunEvidence) -> Table | None:
    if not run.finalists:
        return None
    numbers = ("steps", f"{run.metric}, search split", "score", "time")
    rows = [
        (
            one.policy[:12],
            str(one.steps),
            "" if one.quality is None else quality_text(one.quality, run.sign > 0),
            "" if one.score is None else f"{one.score:.4g}",
            duration_text(one.seconds),
            one.said,
        )
        for one in run.finalists
    ]
    return Table(("policy", *numbers, "outcome"), rows, numbers)


def _facts(run: RunEvidence) -> Iterator[tuple[str, str]]:
    yield "begun", run.begun.isoformat(" ", "seconds")
    yield "seed", str(run.settings.get("seed", ""))
    if run.told is not None:
        yield from run.told.versions.items()
    yield "model fingerprint", run.model_fp
    yield "data fingerprint", run.data_fp
    if run.result is not None:
        policy = {name: one.model_dump() for name, one in run.result.policy.items()}
        yield "policy fingerprint", Policy.from_dict(policy).fingerprint


def compared(runs: Sequence[RunEvidence]) -> Table:
    """Return the headline figures of several runs, a row for each."""
    names = (
        "evaluations",
        "metric",
        "dense",
        "pruned",
        "change",
        "MACs of dense",
        "params of dense",
    )
    return Table(("run", "state", *names), [_row(one) for one in runs], names)


def _row(run: RunEvidence) -> tuple[str, ...]:
    count = str(run.told.search.evaluations if run.told else len(run.trials))
    if run.result is None:
        state = f"{run.state}, a front" if run.front else run.state
        return (run.name, state, count, run.metric if run.told else "", "", "", "", "", "")
    dense, pruned, higher = run.result.dense, run.result.pruned, run.result.higher_is_better
    return (
        run.name,
        run.state,
        count,
        run.metric,
        quality_text(dense.quality_test, higher),
        quality_text(pruned.quality_test, higher),
        change_text(dense.quality_test, pruned.quality_test, higher),
        share_text(pruned.macs, dense.macs),
        share_text(pruned.params, dense.params),
    )
