"""What reports say of a search for the smallest model within a drop, as rows of text."""

from autoprune.artifacts.goal import Ended, Goal, LimitTried
from autoprune.core.bisection import PRECISION
from autoprune.core.tolerance import Tolerance
from autoprune.reporting.text import share_text

LIMITS = ("limit", "scored for it", "best: of dense", "drop", "outcome")
_ENDED: dict[Ended, str] = {
    "narrow": f"limits that failed and held are {PRECISION:.0%} apart at most",
    "trials": "the trials were used up, more may find a smaller model",
    "time": "the time was over, a resumed search may find a smaller model",
}


def goal_rows(goal: Goal) -> list[tuple[str, str, str, bool]]:
    """Return split, drop allowed, drop found, and whether that is within.

    The search split decided; what the test split says comes with no promise.
    """
    error = goal.standard_error
    sure = "" if error is None else f" ± {error:.2f}"
    tolerance = Tolerance(goal.max_drop, goal.minimise)
    found = (
        ("search split (decides; ± standard error)", goal.drop_search, sure),
        ("test split (measured once, at the end)", goal.drop_test, ""),
    )
    return [
        (label, tolerance.text, f"{drop:.2f}{more} points", tolerance.allows(drop))
        for label, drop, more in found
    ]


def limit_rows(goal: Goal) -> list[tuple[str, ...]]:
    """Return a row for each limit, in the order in which they were tried."""
    return [_row(one) for one in goal.limits]


def ended_line(goal: Goal) -> str:
    """Return what was minimised and why the search ended, one sentence."""
    tolerance = Tolerance(goal.max_drop, goal.minimise)
    return f"Lowest {goal.minimise} within {tolerance.text}; the end: {_ENDED[goal.ended]}."


def _row(one: LimitTried) -> tuple[str, ...]:
    share = "" if one.share is None else share_text(one.share, 1.0)
    drop = "" if one.drop is None else f"{one.drop:.2f} points"
    outcome = "within" if one.within else one.reason or "too much"
    return (one.limit, str(one.evaluations), share, drop, outcome)
