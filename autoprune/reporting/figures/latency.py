"""Latency as the table had it, and as it was measured."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from autoprune.artifacts.result import LatencyCheck
from autoprune.reporting.evidence import LatencyTable
from autoprune.reporting.figures.look import BLUE, GREEN, GREY, ORANGE, drawn, plain


def latency_figure(
    tables: Sequence[LatencyTable],
    checks: Mapping[str, LatencyCheck],
    title: str = "Latency, table against measured",
) -> go.Figure:
    """Return milliseconds of the dense model, predicted and measured of the pruned one, by target.

    Args:
        tables: What predicted, one for each target.
        checks: What was measured, by target; with the 95% intervals of the ratio to dense.
        title: Its title.
    """
    measured = [(one, checks[one.target]) for one in tables if one.target in checks]
    names = [plain(one.target) for one, _ in measured]
    figure = go.Figure()
    bars = (
        ("dense, measured", GREY, [check.dense_ms for _, check in measured]),
        ("pruned, by the table", BLUE, [one.predicted_ms for one, _ in measured]),
    )
    for name, colour, values in bars:
        figure.add_bar(x=names, y=values, name=name, marker={"color": colour}, **_HOVER)
    figure.add_bar(
        x=names,
        y=[check.pruned_ms for _, check in measured],
        name="pruned, measured",
        marker={"color": GREEN},
        error_y={
            "type": "data",
            "array": [(check.high - check.ratio) * check.dense_ms for _, check in measured],
            **{"color": ORANGE, "thickness": 2},
            "arrayminus": [(check.ratio - check.low) * check.dense_ms for _, check in measured],
        },
        **_HOVER,
    )
    drawn(figure, title, barmode="group", height=320)
    figure.update_yaxes(title="ms", rangemode="tozero")
    return figure


_HOVER = {"hovertemplate": "%{x}<br>%{y:.4g} ms<extra>%{fullData.name}</extra>"}
