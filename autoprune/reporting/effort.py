"""What a search cost and what it was good for, in one sentence or a few."""

from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Predictions, Result, Rolledback
from autoprune.core.yardstick import Yardstick
from autoprune.reporting.text import count_text

_ENOUGH = 10  # predictions that are worth a sentence
_TELLING = 0.5  # a bound above it says nothing


def effort_line(result: Result | Front) -> str:
    """Return what the search cost, in one sentence."""
    cost = result.search
    told = {"stopped early": cost.stopped, "paid for by other runs": cost.reused}
    parts = ", ".join(f"{count} {what}" for what, count in told.items() if count)
    return (
        f"{cost.evaluations} evaluations{f' ({parts})' if parts else ''}, "
        f"{count_text(round(cost.sample_forwards))} sample forwards, "
        f"{cost.seconds:.0f} s of scoring and training, summed over workers, "
        f"sampler {cost.sampler}, seed {cost.seed}."
        f"{_predictions(cost.predictions)}{_rollback(cost.rollback, result.yardstick)}"
        f"{_warm_start(cost.warm_start)}"
    )


def _rollback(found: Rolledback, yardstick: Yardstick) -> str:
    """Return what became of the decisions that were examined; nothing if none was."""
    if not found.examined:
        return ""
    moved = f"{yardstick.metric} {yardstick.gain(found.quality_regained)}"
    gained = f" ({moved})" if found.reverted else ""
    return f" Of {found.examined} decisions examined, {found.reverted} reverted{gained}."


def _warm_start(evaluations: int) -> str:
    """Return what the search started from, a sentence; nothing if it started cold."""
    plural = "s" if evaluations > 1 else ""
    return f" Warm start from {evaluations} earlier evaluation{plural}." if evaluations else ""


def _predictions(found: Predictions) -> str:
    """Return what predictions were worth and saved; nothing if there were too few to tell."""
    if found.count < _ENOUGH or found.spearman is None or found.coverage is None:
        return ""
    return (
        f" Of {found.count} predicted scores, {found.coverage:.0%} fell inside their 90% "
        f"interval; rank correlation {found.spearman:.2f}.{_spared(found)}"
    )


def _spared(found: Predictions) -> str:
    """Return what was not evaluated because of predictions, and how that was audited."""
    if not found.spared:
        return ""
    whose = "candidate was" if found.spared == 1 else "candidates were"
    said = f" {found.spared} {whose} not scored, as by prediction not able to beat the "
    if found.wrong_at_most is None:
        return f"{said}best; none of that kind was scored to audit it."
    bound = f" (95% confidence: at most {found.wrong_at_most:.0%} do)"
    if found.wrong_at_most > _TELLING:
        bound = ""
        if not found.wrong:  # too few audits to tell
            return f"{said}best."
    scored = f"of {found.audited} of that kind scored all the same"
    return f"{said}best; {scored}, {found.wrong} did{bound}."
