"""What was done to each unit, as bars."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.reporting.figures.look import COLOURS, drawn, lines, plain, short
from autoprune.reporting.units import UnitFacts

_ROW, _REST = 24, 130  # pixels of a unit, of all else
_REMOVED = "rgba(128,128,128,0.18)"
UNTOUCHED = "untouched"


def policy_figure(units: Sequence[UnitFacts], title: str = "Policy by unit") -> go.Figure:
    """Return the share of atoms that each unit keeps, the first unit on top.

    Args:
        units: What is known of each, in the order in which the model runs them.
        title: Its title.
    """
    methods = sorted({one.method or UNTOUCHED for one in units}, key=lambda m: (m == UNTOUCHED, m))
    figure = go.Figure()
    for number, method in enumerate(methods):
        own = [(at, one) for at, one in enumerate(units) if (one.method or UNTOUCHED) == method]
        colour = "#9fb4c7" if method == UNTOUCHED else COLOURS[number % len(COLOURS)]
        figure.add_bar(
            y=[at for at, _ in own],
            x=[one.kept_share for _, one in own],
            name=plain(method),
            marker={"color": colour},
            **_hover([one for _, one in own]),
        )
    figure.add_bar(
        y=list(range(len(units))),
        x=[1 - one.kept_share for one in units],
        name="removed",
        marker={"color": _REMOVED},
        **_hover(units),
    )
    drawn(
        figure,
        title,
        height=_REST + _ROW * len(units),
        barmode="stack",
        bargap=0.25,
        xaxis={"range": [0, 1], "tickformat": ".0%", "title": "share of the unit's atoms"},
    )
    figure.update_yaxes(
        tickvals=list(range(len(units))),
        ticktext=[short(one.unit) for one in units],
        range=[len(units) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _hover(units: Sequence[UnitFacts]) -> dict[str, object]:
    texts = [lines(one.unit, *(f"{name}: {text}" for name, text in one.told)) for one in units]
    return {"orientation": "h", "hovertext": texts, "hovertemplate": "%{hovertext}<extra></extra>"}
