"""Score and quality of each evaluation, in the order in which they came to an end."""

from collections.abc import Sequence
from itertools import accumulate
from math import inf

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autoprune.core.costs import LATENCY
from autoprune.reporting.asked_limits import costs_limited
from autoprune.reporting.cost_names import cost_name
from autoprune.reporting.evidence import FATES, Evaluated, RunEvidence
from autoprune.reporting.figures.cost_axis import PREDICTED
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
from autoprune.reporting.text import amount_text


def history_figure(run: RunEvidence, title: str = "History") -> go.Figure:
    """Return scores with the best so far, qualities, and what was spared, by evaluation.

    Where there are several limits the lowest score is that of the largest models: then no line
    says what was best so far. What has no score stands in a row below the scores, each kind with
    a mark of its own.
    """
    rows = 3 if any(one.spared for one in run.trials) else 2
    names = {"row_heights": [0.5, 0.32, 0.18][:rows], "vertical_spacing": 0.06}
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, **names)
    scores = [one.score for one in run.trials if one.score is not None]
    floor = min(scores, default=0.0) - 0.12 * ((max(scores) - min(scores)) or 1) if scores else 0.0
    costs = costs_limited([run])
    for fate in FATES:
        own = [(at, one) for at, one in enumerate(run.trials, 1) if one.fate == fate]
        if own:
            places, found = [at for at, _ in own], [one for _, one in own]
            texts = [trial_text(one, at, run, costs) for at, one in own]
            heights = [floor if one.score is None else one.score for one in found]
            trace = dots(places, heights, texts, FATES[fate].partition(":")[0], FATE_LOOK[fate])
            figure.add_trace(trace, 1, 1)
            qualities = [
                None if one.quality is None else run.yardstick.shown(one.quality) for one in found
            ]
            trace = dots(places, qualities, texts, fate, FATE_LOOK[fate])
            figure.add_trace(trace.update(showlegend=False), 2, 1)
    if run.one_for_all:
        figure.add_trace(_best_line(run, "best score so far", GREEN), 1, 1)
    _mark_models(figure, run)
    if rows == 3:
        _add_spared(figure, run.trials)
    drawn(figure, title, height=180 * rows + 60)
    figure.update_yaxes(title="score, lower is better", row=1, col=1)
    shown = [run.yardstick.shown(one.quality) for one in run.trials if one.quality is not None]
    axis = percent_axis(shown, run.yardstick.is_share)
    figure.update_yaxes(title=plain(run.metric), **axis, row=2, col=1)
    figure.update_xaxes(title="evaluation", row=rows, col=1)
    return figure


def compared_history(runs: Sequence[RunEvidence], title: str = "History of runs") -> go.Figure:
    """Return the best score so far by evaluation, a line for each run that has one budget.

    Scores compare where model, data and the way of scoring are the same.
    """
    figure = go.Figure(
        [
            _best_line(run, run.name, COLOURS[at % len(COLOURS)]).update(line={"dash": "solid"})
            for at, run in enumerate(runs)
            if run.one_for_all
        ]
    )
    drawn(figure, title)
    figure.update_xaxes(title="evaluation")
    figure.update_yaxes(title="best score so far, lower is better")
    return figure


def trial_text(one: Evaluated, place: int, run: RunEvidence, costs: Sequence[str]) -> str:
    """Return what is shown beside the mouse of an evaluation, ``costs`` among it."""
    return lines(
        f"evaluation {place}" + (f", by {one.source}" if one.source else ""),
        "" if one.score is None else f"score {one.score:.4g}",
        "" if one.quality is None else f"{run.metric} {run.yardstick.text(one.quality)}",
        *(_cost_text(run, cost, one.costs[cost]) for cost in costs if cost in one.costs),
        one.said if one.fate not in ("scored", "running") else "",
        f"{one.spared} candidates spared for it" if one.spared else "",
    )


def _cost_text(run: RunEvidence, cost: str, amount: float) -> str:
    by = PREDICTED if cost.startswith(LATENCY) else ""
    share = run.share(cost, amount)
    said = amount_text(cost, amount) if share is None else f"{share:.1%} of the dense model's"
    return " ".join(filter(None, (f"{cost_name(cost)}: {said}", by)))


def _best_line(run: RunEvidence, name: str, colour: str) -> go.Scatter:
    """Return the lowest score inside the budget so far."""
    found = [one.score if one.counts and one.score is not None else inf for one in run.trials]
    best = [None if one == inf else one for one in accumulate(found, min)]
    return go.Scatter(
        x=list(range(1, len(best) + 1)),
        y=best,
        mode="lines",
        name=plain(name),
        line={"shape": "hv", "color": colour, "dash": "dot", "width": 2},
        hovertemplate="best so far %{y:.4g}<extra></extra>",
    )


def _mark_models(figure: go.Figure, run: RunEvidence) -> None:
    """Draw lines at the qualities of the dense and of the fine-tuned model."""
    if run.told is None or not run.trials:
        return
    models = [("dense", run.told.dense.quality_search, GREY)]
    if run.result is not None:
        models.append(("pruned, fine-tuned", run.result.pruned.quality_search, GREEN))
    for name, quality, colour in models:
        figure.add_trace(
            go.Scatter(
                x=[1, len(run.trials)],
                y=[run.yardstick.shown(quality)] * 2,
                mode="lines",
                name=name,
                line={"color": colour, "dash": "dash", "width": 1.5},
                hovertemplate=f"{name} {run.yardstick.text(quality)}<extra></extra>",
            ),
            2,
            1,
        )


def _add_spared(figure: go.Figure, trials: Sequence[Evaluated]) -> None:
    figure.add_trace(
        go.Bar(
            x=list(range(1, len(trials) + 1)),
            y=[one.spared for one in trials],
            name="skipped: spared by prediction",
            marker={"color": "#c9a227"},
            hovertemplate="%{y} candidates spared before evaluation %{x}<extra></extra>",
        ),
        3,
        1,
    )
    figure.update_yaxes(title="spared", row=3, col=1)
