"""The one look of figures: colours that hold on light and on dark, and names that stay text."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from autoprune.core.ledger import Outcome
from autoprune.reporting.evidence import Fate

BLUE, GREEN, RED, ORANGE, VIOLET, GREY = (
    *("#3a7ebf", "#1f9d76", "#d1495b", "#d98324", "#a05fc4", "#8d96a0"),
)
COLOURS = (BLUE, ORANGE, GREEN, VIOLET, RED, "#7f6a4f", "#2aa5b8", "#c2569b", "#8a9a2b", GREY)
FATE_LOOK: dict[Fate, tuple[str, str]] = {
    "scored": (BLUE, "circle"),
    "reverted": (VIOLET, "star"),
    "stopped": (GREY, "line-ns-open"),
    "failed": (RED, "x"),
    "infeasible": (ORANGE, "triangle-up-open"),
    "given back": (GREY, "circle-open-dot"),
    "running": (GREEN, "circle-open"),
}
OUTCOME_LOOK: dict[Outcome, tuple[str, str]] = {
    Outcome.REVERTED: (VIOLET, "star"),
    Outcome.NOISE: (BLUE, "circle"),
    Outcome.WORSE: (GREY, "circle"),
    Outcome.STOPPED: (GREY, "line-ns-open"),
    Outcome.FAILED: (RED, "x"),
    Outcome.TOO_FAR: (ORANGE, "triangle-down"),
}
_FAINT = "rgba(128,128,128,0.22)"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MANY = 200  # points, which are drawn smaller
_LONGEST = 30  # characters of a label beside an axis


def plain(text: str) -> str:
    """Return a text that plotly shows as it is: it would take tags for its own markup.

    Control characters become spaces, those that turn the direction of writing too.
    """
    return escape(_CONTROLS.sub(" ", text), quote=False)


def short(text: str) -> str:
    """Return a name short enough for an axis: its end, which tells units apart, stays."""
    cut = text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
    return plain(cut)


def lines(*texts: str) -> str:
    """Return texts below each other, for what is shown beside the mouse; empty ones not."""
    return "<br>".join(plain(text) for text in texts if text)


def dots(
    x: Sequence[Any], y: Sequence[Any], texts: Sequence[str], name: str, look: tuple[str, str]
) -> go.Scatter:
    """Return points; ``texts`` come from `lines`, ``look`` is a colour and a symbol."""
    colour, symbol = look
    thin = symbol.endswith("open") or symbol == "x"
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="markers",
        name=plain(name),
        text=list(texts),
        hovertemplate="%{text}<extra></extra>",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": (12 if symbol == "star" else 8) if len(x) < _MANY else 5,
            "line": {"width": 2 if thin else 0, "color": colour},
        },
    )


def drawn(figure: go.Figure, title: str, *, height: int = 380, **layout: Any) -> go.Figure:
    """Return a figure with the look that all have."""
    figure.update_layout(
        template="none",
        title={"text": plain(title), "font": {"size": 15}},
        height=height,
        margin={"l": 8, "r": 24, "t": 60, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": GREY},
        colorway=list(COLOURS),
        hovermode="closest",
        hoverlabel={"align": "left", "font": {"size": 12}},
        legend={
            **{"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0},
            "traceorder": "normal",
        },
        **layout,
    )
    axes: dict[str, Any] = {"gridcolor": _FAINT, "zerolinecolor": _FAINT, "linecolor": _FAINT}
    axes |= {"automargin": True, "title_standoff": 14}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    return figure


def percent_axis(values: Sequence[float], is_share: bool) -> dict[str, Any]:
    """Return how an axis of a metric is written: in percent where all of its values are shares."""
    shares = is_share and bool(values) and all(0 <= one <= 1 for one in values)
    return {"tickformat": ".1%" if max(values) - min(values) < 0.1 else ".0%"} if shares else {}
