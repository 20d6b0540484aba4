"""Quality against a cost: everything that was scored, and the models that were returned."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from autoprune.core.pareto import dominators
from autoprune.reporting.asked_limits import costs_limited
from autoprune.reporting.cost_names import cost_name
from autoprune.reporting.evidence import FATES, RunEvidence
from autoprune.reporting.figures.cost_axis import LIMIT, CostAxis
from autoprune.reporting.figures.history import trial_text
from autoprune.reporting.figures.look import (
    BLUE,
    COLOURS,
    FATE_LOOK,
    GREEN,
    dots,
    drawn,
    percent_axis,
    plain,
)
from autoprune.reporting.figures.returned import models_of, returned


def front_title(run: RunEvidence, cost: str) -> str:
    """Return what a figure of a front shows."""
    return f"{run.metric} against {cost_name(cost)}"


def front_figure(runs: Sequence[RunEvidence], cost: str = "macs", title: str = "") -> go.Figure:
    """Return quality on the search split against a cost, of one run or of several.

    Of one run each fate of an evaluation has a mark of its own; of several each run has a
    colour. A line goes through the best evaluations, another one stands at each limit.

    Args:
        runs: At least one run, all with the same metric.
        cost: A cost as in a budget.
        title: Its title.
    """
    figure, axis = go.Figure(), CostAxis.of(runs, cost)
    alone = len(runs) == 1
    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        figure.add_traces([*_evaluations(run, axis, None if alone else colour)])
        figure.add_traces([*_best(run, axis, BLUE if alone else colour, alone)])
        figure.add_traces([*returned(run, axis, GREEN if alone else colour, alone)])
        axis.mark_limits(figure, run, LIMIT if alone else colour)
    drawn(figure, title or front_title(runs[0], cost), height=420)
    figure.update_xaxes(title=axis.title, **({"tickformat": ".0%"} if axis.shares else {}))
    shown = [run.yardstick.shown(q) for run in runs for q in _qualities(run)]
    percents = percent_axis(shown, all(run.yardstick.is_share for run in runs))
    figure.update_yaxes(title=plain(f"{runs[0].metric}, search split"), **percents)
    return figure


def _qualities(run: RunEvidence) -> list[float]:
    found = [one.quality for one in run.trials if one.quality is not None]
    found += [one.measured.quality_search for one in models_of(run)]
    return found + ([run.told.dense.quality_search] if run.told else [])


def _evaluations(run: RunEvidence, axis: CostAxis, colour: str | None) -> Iterator[go.Scatter]:
    costs = costs_limited([run])
    for fate in FATES:
        own = [
            (at, one)
            for at, one in enumerate(run.trials, 1)
            if one.fate == fate and one.quality is not None and axis.cost in one.costs
        ]
        if not own:
            continue
        look = FATE_LOOK[fate] if colour is None else (colour, FATE_LOOK[fate][1])
        name = FATES[fate].partition(":")[0] if colour is None else f"{run.name}: {fate}"
        trace = dots(
            [axis.tried(run, one.costs[axis.cost]) for _, one in own],
            [run.yardstick.shown(one.quality) for _, one in own if one.quality is not None],
            [trial_text(one, at, run, costs) for at, one in own],
            name,
            look,
        )
        trace.update(opacity=0.6, showlegend=colour is None)
        yield trace


def _best(run: RunEvidence, axis: CostAxis, colour: str, alone: bool) -> Iterator[go.Scatter]:
    """Yield a line through the evaluations that no other one is better and cheaper than."""
    found = [
        (one.quality, one.costs[axis.cost])
        for one in run.trials
        if one.counts and one.quality is not None and axis.cost in one.costs
    ]
    members = [one for one, by in zip(found, dominators(found), strict=True) if by is None]
    if not members:
        return
    members.sort(key=lambda one: one[1])
    yield go.Scatter(
        x=[axis.tried(run, amount) for _, amount in members],
        y=[run.yardstick.shown(quality) for quality, _ in members],
        mode="lines",
        name=plain("best of the evaluations" if alone else f"{run.name}: best"),
        showlegend=alone,
        line={"shape": "hv", "color": colour, "width": 1.5},
        hoverinfo="skip",
    )
