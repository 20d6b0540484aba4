"""Quality against a cost: everything that was scored, and the models that were returned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from autoprune.artifacts.result import Measured
from autoprune.reporting.evidence import FATES, RunEvidence
from autoprune.reporting.figures.history import trial_text
from autoprune.reporting.figures.look import (
    COLOURS,
    FATE_LOOK,
    GREEN,
    GREY,
    dots,
    drawn,
    lines,
    percent_axis,
    plain,
)
from autoprune.reporting.rows import amount_text


@dataclass(frozen=True)
class Model:
    """A model that was returned.

    Args:
        name: What it is, for instance its limit.
        measured: Its figures.
    """

    name: str
    measured: Measured


def front_figure(runs: Sequence[RunEvidence], cost: str = "macs", title: str = "") -> go.Figure:
    """Return quality on the search split against a cost, of one run or of several.

    Of one run each fate of an evaluation has a mark of its own; of several each run has a
    colour. Where the dense model is known, costs are shares of its.

    Args:
        runs: At least one run, all with the same metric.
        cost: A cost as in a budget.
        title: Its title.
    """
    figure = go.Figure()
    alone = len(runs) == 1
    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        figure.add_traces([*_evaluations(run, cost, None if alone else colour)])
        figure.add_traces([*_returned(run, cost, GREEN if alone else colour, alone)])
    known = all(run.dense_cost(cost) for run in runs)
    drawn(figure, title or f"Quality against {cost}", height=420)
    axis = {"tickformat": ".0%"} if known else {}
    name = "MACs" if cost == "macs" else cost
    figure.update_xaxes(
        title=plain(f"{name}, share of the dense model" if known else name), **axis
    )
    shown = [run.yardstick.shown(q) for run in runs for q in _qualities(run)]
    axis = percent_axis(shown, all(run.yardstick.is_share for run in runs))
    figure.update_yaxes(title=plain(f"{runs[0].metric}, search split"), **axis)
    return figure


def models_of(run: RunEvidence) -> list[Model]:
    """Return what a run returned: one model, or those of a front, the smallest first."""
    if run.front is not None:
        return [Model(one.limit, one.pruned) for one in run.front.points]
    return [Model("pruned, fine-tuned", run.result.pruned)] if run.result else []


def _qualities(run: RunEvidence) -> list[float]:
    found = [one.quality for one in run.trials if one.quality is not None]
    found += [one.measured.quality_search for one in models_of(run)]
    return found + ([run.told.dense.quality_search] if run.told else [])


def _evaluations(run: RunEvidence, cost: str, colour: str | None) -> Iterator[go.Scatter]:
    whole = run.dense_cost(cost) or 1
    for fate in FATES:
        own = [
            (at, one)
            for at, one in enumerate(run.trials, 1)
            if one.fate == fate and one.quality is not None and cost in one.costs
        ]
        if not own:
            continue
        look = FATE_LOOK[fate] if colour is None else (colour, FATE_LOOK[fate][1])
        name = FATES[fate].partition(":")[0] if colour is None else f"{run.name}: {fate}"
        trace = dots(
            [one.costs[cost] / whole for _, one in own],
            [run.yardstick.shown(one.quality) for _, one in own if one.quality is not None],
            [trial_text(one, at, run) for at, one in own],
            name,
            look,
        )
        trace.update(opacity=0.6, showlegend=colour is None)
        yield trace


def _returned(run: RunEvidence, cost: str, colour: str, alone: bool) -> Iterator[go.Scatter]:
    """Yield the models that were returned, a line through those of a front, and the dense one."""
    if run.told is None:
        return
    dense, whole = run.told.dense, run.told.dense.costs.as_dict()[cost]
    models = models_of(run)
    trace = dots(
        [one.measured.costs.as_dict()[cost] / whole for one in models],
        [run.yardstick.shown(one.measured.quality_search) for one in models],
        [_text(run, one, cost) for one in models],
        "returned, fine-tuned" if alone else run.name,
        (colour, "diamond"),
    )
    line = {"shape": "hv", "dash": "dot", "color": colour}
    trace.update(mode="lines+markers", line=line, marker={"size": 13})
    yield trace
    own = dots(
        [1.0],
        [run.yardstick.shown(dense.quality_search)],
        [_text(run, Model("dense", dense), cost)],
        "dense",
        (GREY if alone else colour, "square"),
    )
    yield own.update(showlegend=alone)


def _text(run: RunEvidence, model: Model, cost: str) -> str:
    own, text = model.measured, run.yardstick.text
    return lines(
        f"{run.name}: {model.name}",
        f"{run.metric} {text(own.quality_search)} on the search split",
        f"{text(own.quality_test)} on the test split",
        f"{cost} {amount_text(cost, own.costs.as_dict()[cost])}",
    )
