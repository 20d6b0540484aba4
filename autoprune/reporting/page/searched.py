"""What is said of the search: what was tried, examined, predicted, and trained for longer."""

from collections.abc import Iterator

from autoprune.core.costs import LATENCY
from autoprune.reporting.asked_limits import costs_limited
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.front import front_figure, front_title
from autoprune.reporting.figures.history import history_figure
from autoprune.reporting.figures.predictions import calibration_figure, reliability_figure
from autoprune.reporting.figures.rollback import rollback_figure
from autoprune.reporting.ledger_terminal import changes_of, word_of
from autoprune.reporting.page.parts import Chart, Table
from autoprune.reporting.text import duration_text

_SEVERAL = " Scores are of several limits: those of larger models are lower."


def search_charts(run: RunEvidence, at: str) -> Iterator[Chart]:
    """Yield the front and the history, nothing where nothing was tried."""
    if not run.trials:
        return
    for number, cost in enumerate(costs_limited([run])):
        yield Chart(
            f"{at}-front-{number}",
            front_title(run, cost),
            front_figure([run], cost),
            "Small marks were scored after little training or none, the large one was trained to "
            f"the end: the two qualities do not compare directly.{of_latency(cost)} A dashed line "
            "is a limit, the solid one goes through the best evaluations.",
        )
    yield Chart(
        f"{at}-history",
        "History",
        history_figure(run),
        "In the order in which evaluations came to their end. What has no score stands in the "
        f"row below the others.{'' if run.one_for_all else _SEVERAL}",
    )


def of_latency(cost: str) -> str:
    """Return which latencies are predicted, a sentence; empty for a cost that is counted."""
    if not cost.startswith(LATENCY):
        return ""
    return " Small marks stand where the latency table predicts them, large ones where measured."


def rollback_chart(run: RunEvidence, at: str) -> Chart | None:
    """Return the timeline of decisions, None if none was examined."""
    if not run.ledger:
        return None
    note = (
        "Regret is the score that a decision gave away against the best alternative that costs as "
        "much: above zero it did harm. It is reverted if a paired test says that this is not "
        "noise."
    )
    return Chart(f"{at}-rollback", "Rollback timeline", rollback_figure(run.ledger), note)


def decisions_table(run: RunEvidence) -> Table | None:
    """Return the same as a table."""
    if not run.ledger:
        return None
    numbers = ("regret", "expected", "p", "needed below")
    rows = [
        (
            str(at),
            "; ".join(changes_of(one)),
            _number(one.regret),
            _number(one.expected_regret),
            "" if one.p_value is None else f"{one.p_value:.2g}",
            f"{one.threshold:.2g}" if one.threshold else "",
            word_of(one.outcome),
        )
        for at, one in enumerate(run.ledger, 1)
    ]
    return Table(("", "decision, to what instead", *numbers, "outcome"), rows, ("", *numbers))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def prediction_charts(run: RunEvidence, at: str) -> Iterator[Chart]:
    """Yield what predictions were worth, as far as there were any."""
    if any(one.prediction for one in run.trials):
        yield Chart(
            f"{at}-calibration",
            "Predicted and measured scores",
            calibration_figure(run.trials),
            "Each score was predicted before it was measured. Nine in ten should lie inside "
            "their interval.",
        )
    if any((one.record or {}).get("count") for one in run.trials):
        yield Chart(
            f"{at}-reliability",
            "Rank correlation and coverage as the search went on",
            reliability_figure(run.trials),
            "Of all predictions before an evaluation. Below the lower dotted line predictions "
            "are recorded and decide nothing, once there are eight of them.",
        )


def finalists_table(run: RunEvidence) -> Table | None:
    """Return what was fine-tuned for longer, None if nothing was."""
    if not run.finalists:
        return None
    numbers = ("steps", f"{run.metric}, search split", "score", "time")
    rows = [
        (
            one.policy[:12],
            str(one.steps),
            "" if one.quality is None else run.yardstick.text(one.quality),
            "" if one.score is None else f"{one.score:.4g}",
            duration_text(one.seconds),
            one.said,
        )
        for one in run.finalists
    ]
    return Table(("policy", *numbers, "outcome"), rows, numbers)
