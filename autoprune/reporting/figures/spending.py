"""Where the time went."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autoprune.reporting.evidence import Spent
from autoprune.reporting.figures.look import BLUE, VIOLET, drawn


def spending_figure(spent: Sequence[Spent], title: str = "Where the time went") -> go.Figure:
    """Return seconds and sample forwards of each part of a run, the first part on top."""
    names = ("seconds", "sample forwards of the dense model")
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    parts = [one.part for one in spent]
    for column, (values, colour) in enumerate(
        (
            ([one.seconds for one in spent], BLUE),
            ([one.sample_forwards for one in spent], VIOLET),
        ),
        start=1,
    ):
        figure.add_trace(
            go.Bar(
                x=values,
                y=parts,
                orientation="h",
                marker={"color": colour},
                name=names[column - 1],
                hovertemplate="%{y}: %{x:,.4g}<extra></extra>",
            ),
            1,
            column,
        )
    drawn(figure, title, height=110 + 34 * len(spent))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(nticks=4, rangemode="tozero")
    return figure
