"""A plot of a front that opens in any browser, without a network."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.artifacts.front import Front
from autoprune.reporting.front import columns, front_rows

_COLOUR = "#1f77b4"


def render_front(front: Front) -> str:
    """Return the page: quality on the search split over cost, each point with all its figures.

    Between the points is a step: what a limit in between is worth today.
    """
    shares = [point.share for point in front.points]
    sign = 1 if front.higher_is_better else -1
    qualities = [sign * point.pruned.quality_search for point in front.points]
    texts = [_hover(columns(front), row) for row in front_rows(front)]
    figure = go.Figure(
        [
            go.Scatter(
                x=shares,
                y=qualities,
                mode="lines+markers",
                line={"shape": "hv", "color": _COLOUR, "dash": "dot"},
                marker={"size": 10},
                text=texts[:-1],
                hovertemplate="%{text}<extra></extra>",
                name="front",
            ),
            go.Scatter(
                x=[1.0],
                y=[sign * front.dense.quality_search],
                mode="markers",
                marker={"size": 10, "color": "grey", "symbol": "diamond"},
                text=texts[-1:],
                hovertemplate="%{text}<extra></extra>",
                name="dense",
            ),
        ]
    )
    figure.update_layout(
        title=f"{front.metric} on the search split against {front.cost}",
        xaxis={"title": f"{front.cost}, share of the dense model", "tickformat": ".0%"},
        yaxis={"title": front.metric},
        template="plotly_white",
        hovermode="closest",
    )
    page: str = figure.to_html(include_plotlyjs=True, full_html=True, div_id="front")
    return page


def _hover(names: Sequence[str], row: Sequence[str]) -> str:
    return "<br>".join(f"{name}: {text}" for name, text in zip(names, row, strict=True) if text)
