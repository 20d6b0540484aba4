"""What predictions were worth: each beside its score, and how that went on."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.predictor.prequential import COVERAGE, GATE
from autoprune.reporting.evidence import Evaluated
from autoprune.reporting.figures.look import BLUE, GREEN, GREY, RED, drawn, lines


def calibration_figure(trials: Sequence[Evaluated], title: str = "Calibration") -> go.Figure:
    """Return measured scores over the expected ones, with the 90% intervals of what was expected.

    On the line a prediction was right; what is outside its interval is red.
    """
    made = [(at, one.prediction) for at, one in enumerate(trials, 1) if one.prediction]
    figure = go.Figure()
    for name, colour, inside in (("inside its interval", BLUE, True), ("outside", RED, False)):
        own = [(at, p) for at, p in made if (p.low <= p.score <= p.high) is inside]
        if own:
            figure.add_scatter(
                x=[p.expected for _, p in own],
                y=[p.score for _, p in own],
                mode="markers",
                name=f"{name} ({len(own)})",
                marker={"color": colour, "size": 8},
                error_x={
                    "type": "data",
                    "array": [p.high - p.expected for _, p in own],
                    "arrayminus": [p.expected - p.low for _, p in own],
                    **{"thickness": 1, "width": 0, "color": colour},
                },
                text=[
                    lines(
                        f"evaluation {at}",
                        f"expected {p.expected:.4g}, from {p.low:.4g} to {p.high:.4g}",
                        f"measured {p.score:.4g}",
                    )
                    for at, p in own
                ],
                hovertemplate="%{text}<extra></extra>",
            )
    ends = [edge(p.expected, p.score) for _, p in made for edge in (min, max)]
    if ends:
        figure.add_scatter(
            x=[min(ends), max(ends)],
            y=[min(ends), max(ends)],
            mode="lines",
            name="as expected",
            line={"color": GREY, "dash": "dot"},
            hoverinfo="skip",
        )
        room = 0.06 * (max(ends) - min(ends)) or 1.0
        both = {"range": [min(ends) - room, max(ends) + room]}  # intervals may be far wider
        figure.update_layout(xaxis=both, yaxis=both)
    drawn(figure, title)
    figure.update_xaxes(title="score expected, with its 90% interval")
    figure.update_yaxes(title="score measured")
    return figure


def reliability_figure(trials: Sequence[Evaluated], title: str = "Reliability") -> go.Figure:
    """Return rank correlation and coverage of all predictions so far, by evaluation."""
    told = [(at, one.record) for at, one in enumerate(trials, 1) if one.record]
    figure = go.Figure()
    for key, name, colour in (
        ("spearman", "rank correlation", BLUE),
        ("coverage", "share inside the 90% intervals", GREEN),
    ):
        figure.add_scatter(
            x=[at for at, _ in told],
            y=[record.get(key) for _, record in told],
            mode="lines",
            name=name,
            line={"color": colour, "width": 2},
            text=[f"{record.get('count')} predictions before" for _, record in told],
            hovertemplate=f"{name} %{{y:.2f}}<br>%{{text}}<extra></extra>",
        )
    for height, text, colour in (
        (COVERAGE, "aimed at", GREEN),
        (GATE, "below it predictions decide nothing", BLUE),
    ):
        line = {"color": colour, "width": 1, "dash": "dot"}
        note = {"annotation_text": text, "annotation_position": "bottom right"}
        figure.add_hline(y=height, line=line, annotation_font_color=colour, **note)
    drawn(figure, title)
    figure.update_xaxes(title="evaluation")
    figure.update_yaxes(range=[-1.05, 1.05])
    return figure
