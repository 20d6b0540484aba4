"""What is said of a running search, in words."""

from autoprune.core.progress import Ended, Progress, SearchState
from autoprune.core.yardstick import metric_text
from autoprune.reporting.text import duration_text, share_text

_LABELS = {
    "wait": "waiting for others",
    "trace": "tracing units",
    "latency": "measuring latency",
    "importance": "ranking atoms",
    "sensitivity": "probing units",
    "search": "scoring policies",
    "measure": "measuring candidates",
    "recover": "fine-tuning finalists",
    "verify": "checking the result",
}

_BEST = {
    "search": "best by score",
    "recover": "best of those trained longest",
}  # what decides there


def label(event: Progress) -> str:
    """Return what the run is doing, and with which target if it is one."""
    return _LABELS[event.stage] + (f" on {event.target}" if event.target else "")


def summary(event: Progress) -> str:
    """Return what is known besides the count: quality of the best, its share of MACs, time left.

    It may fall: the score decides, and of finalists the best is one of those trained longest.
    """
    parts = []
    if event.best_quality is not None:
        best = _BEST.get(event.stage, "best")
        parts.append(f"{best}: {metric_text(event.best_quality, event.is_share)}")
    if event.feasible_macs is not None:
        parts.append(f"{share_text(event.feasible_macs, 1.0)} of MACs")
    if event.seconds_left is not None:
        parts.append(f"{duration_text(event.seconds_left)} left")
    return ", ".join(parts)


def state_text(event: Progress) -> str:
    """Return how the search stands: what ended early, what is predicted, what was reverted."""
    state = event.state
    if state is None:
        return ""
    parts = [
        f"{count} {what}"
        for count, what in (
            (state.working if state.working > 1 else 0, "being scored"),
            (state.stopped, "stopped early"),
            (state.failed, "failed"),
            (state.reused, "known before"),
        )
        if count
    ]
    if state.lost:
        parts.append(
            f"{state.lost} lost worker{'s' * (state.lost > 1)}, the last {state.why_lost}"
        )
    if state.inside < event.done:
        parts.append(f"{state.inside / event.done:.0%} priced inside the limits")
    parts += _predictor(state)
    if state.examined:
        parts.append(f"{state.reverted} of {state.examined} decisions reverted")
    return ", ".join(parts)


def ended_text(one: Ended, is_share: bool = True) -> str:
    """Return what came of an evaluation, as a line; whether its metric is a share is told."""
    parts = [f"trial {one.number}: {one.source}".rstrip(": ")]
    if one.score is None:
        parts.append(one.outcome)
    else:
        expected = "" if one.expected is None else f" ({one.expected:.4g} expected)"
        parts.append(f"score {one.score:.4g}{expected}")
    if one.quality is not None:
        parts.append(metric_text(one.quality, is_share))
    return ", ".join([*parts, f"{one.seconds:.1f} s"])


def _predictor(state: SearchState) -> list[str]:
    if not state.predictions:
        return []
    role = "decides" if state.decides else "only recorded"
    if state.rank_correlation is None:
        return [f"predictor {role} (too early to judge, of {state.predictions})"]
    worth = f"rank correlation {state.rank_correlation:.2f}"
    if state.coverage is not None:
        worth += f", {state.coverage:.0%} inside their intervals"
    return [f"predictor {role} ({worth}, of {state.predictions})"]
