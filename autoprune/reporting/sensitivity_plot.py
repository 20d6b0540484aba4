"""A plot of a sensitivity table that opens in any browser, without a network."""

import plotly.graph_objects as go
from plotly.colors import qualitative

from autoprune.evaluation.probing.sensitivity import Entry, Sensitivity
from autoprune.reporting.figures.look import lines, plain
from autoprune.reporting.sensitivity_terminal import by_sensitivity

_COLOURS = qualitative.Dark24
_Z = 1.96  # standard errors to each side that the true value lies within, 95 times of 100


def render_sensitivity(found: Sensitivity) -> str:
    """Return the page: loss given up over sparsity, a line for each unit and method.

    Lines are the fit; points with their 95% intervals are what was measured. The best method of
    each unit is shown, the others appear by a click on their name.
    """
    figure = go.Figure()
    for number, unit in enumerate(reversed(by_sensitivity(found))):
        for method in sorted(found.errors[unit], key=lambda m: m != found.best_method(unit)):
            best = method == found.best_method(unit)
            colour = _COLOURS[number % len(_COLOURS)]
            figure.add_traces(_traces(found, unit, method, colour, best))
    figure.update_layout(
        title=f"What each unit gives up when it alone is cut, on {found.samples} samples",
        xaxis={"title": "share of the unit's atoms removed", "tickformat": ".0%"},
        yaxis={"title": f"loss given up (dense: {found.dense_loss:.4f})"},
        template="plotly_white",
        hovermode="closest",
    )
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page


def _traces(
    found: Sensitivity, unit: str, method: str, colour: str, best: bool
) -> list[go.Scatter]:
    own = [e for e in found.entries if (e.unit, e.method) == (unit, method)]
    measured = [e for e in own if e.given_up is not None]
    look = {
        "name": plain(f"{unit}, {method}"),
        "legendgroup": f"{unit} {method}",
        "visible": True if best else "legendonly",
    }
    line = go.Scatter(
        x=found.sparsities[unit],
        y=found.errors[unit][method],
        mode="lines",
        line={"color": colour, "dash": "solid" if best else "dot"},
        **look,
    )
    points = go.Scatter(
        x=[e.sparsity for e in measured],
        y=[e.given_up for e in measured],
        mode="markers",
        marker={"color": colour},
        error_y={"type": "data", "array": [_Z * e.stderr for e in measured]},
        text=[_hover(e, found) for e in measured],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        **look,
    )
    return [line, points]


def _hover(entry: Entry, found: Sensitivity) -> str:
    assert entry.quality is not None
    cut, dense = map(found.yardstick.text, (entry.quality, found.dense_quality))
    return lines(
        f"{entry.unit}, {entry.method}",
        f"{entry.sparsity:.1%} of {entry.atoms} atoms removed",
        f"loss {entry.given_up:+.4f} ± {entry.stderr:.4f}",
        f"{found.metric} {cut}, dense {dense}",
    )
