"""Pictures of quality against multiply-adds, as plotly pages."""

from pathlib import Path

import plotly.graph_objects as go

from benchmarks.peers.cells import sections
from benchmarks.peers.figures import Table
from benchmarks.peers.limits import LIMITS
from benchmarks.peers.rivals import OURS, RIVALS


def write_pictures(folder: Path, table: Table) -> None:
    """Write ``folder/MODEL.html`` for each model that something is known of.

    plotly lies beside them, so that they open without a network.
    """
    for subject in dict.fromkeys(subject for subject, _ in sections(table)):
        figure = picture(table, subject)
        if figure.data:
            folder.mkdir(exist_ok=True)
            figure.write_html(folder / f"{subject}.html", include_plotlyjs="directory")


def picture(table: Table, subject: str) -> go.Figure:
    """Return quality against multiply-adds, whiskers from the lowest to the highest seed."""
    figure = go.Figure()
    for rival, known in RIVALS.items():
        limits = [limit for limit, one in LIMITS.items() if not one.latency]
        cells = [table.get((subject, limit, rival)) for limit in limits]
        points = [cell for cell in cells if cell and cell.runs]
        if not points:
            continue
        means = [100 * (cell.mean("quality") or 0.0) for cell in points]
        highs = [100 * max(cell.values("quality")) for cell in points]
        lows = [100 * min(cell.values("quality")) for cell in points]
        figure.add_scatter(
            name=known.label,
            x=[100 * (cell.mean("share") or 0.0) for cell in points],
            y=means,
            error_y={
                "array": [high - mean for high, mean in zip(highs, means, strict=True)],
                "arrayminus": [mean - low for low, mean in zip(lows, means, strict=True)],
            },
            mode="lines+markers",
            line={"width": 4 if rival == OURS else 1.5},
        )
    figure.update_layout(
        title=subject,
        xaxis_title="multiply-adds, % of the dense model's",
        yaxis_title="quality on the test split, %",
        template="plotly_white",
    )
    return figure
