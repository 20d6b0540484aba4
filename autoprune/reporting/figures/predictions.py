"""What predictions were worth: each beside its score, and how that went on."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.predictor.prequential import COVERAGE, GATE, Prediction
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
            figure.add_trace(_points(own, f"{name} ({len(own)})", colour))
    _mark_where_right(figure, [p for _, p in made])
    drawn(figure, title)
    figure.update_xaxes(title="score expected, with its 90% interval")
    figure.update_yaxes(title="score measured")
    return figure


def _points(made: Sequence[tuple[int, Prediction]], name: str, colour: str) -> go.Scatter:
    """Return predictions, each with the place of its evaluation, beside their scores."""
    return go.Scatter(
        x=[p.expected for _, p in made],
        y=[p.score for _, p in made],
        mode="markers",
        name=name,
        marker={"color": colour, "size": 8},
        error_x={
            "type": "data",
            "array": [p.high - p.expected for _, p in made],
            "arrayminus": [p.expected - p.low for _, p in made],
            **{"thickness": 1, "width": 0, "color": colour},
        },
        text=[_text(at, p) for at, p in made],
        hovertemplate="%{text}<extra></extra>",
    )


def _text(place: int, made: Prediction) -> str:
    return lines(
        f"evaluation {place}",
        f"expected {made.expected:.4g}, from {made.low:.4g} to {made.high:.4g}",
        f"measured {made.score:.4g}",
    )


def _mark_where_right(figure: go.Figure, made: Sequence[Prediction]) -> None:
    """Draw the line on which predictions were right, and show what lies around it."""
    if not made:
        return
    both = [value for one in made for value in (one.expected, one.score)]
    low, high = min(both), max(both)
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        name="as expected",
        line={"color": GREY, "dash": "dot"},
        hoverinfo="skip",
    )
    room = 0.06 * (high - low) or 1.0
    around = {"range": [low - room, high + room]}  # intervals may be far wider
    figure.update_layout(xaxis=around, yaxis=around)


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
