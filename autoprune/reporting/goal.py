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


def tolerance_of(goal: Goal, is_share: bool) -> Tolerance:
    """Return what was allowed, of a metric that is a share or not."""
    return Tolerance(goal.max_drop, goal.minimise, is_share)


def goal_rows(goal: Goal, is_share: bool) -> list[tuple[str, str, str, bool]]:
    """Return split, drop allowed, drop found, and whether that is within.

    The search split decided; what the test split says comes with no promise.
    """
    tolerance = tolerance_of(goal, is_share)
    found = (
        ("search split (decides; ± standard error)", goal.drop_search, goal.standard_error),
        ("test split (measured once, at the end)", goal.drop_test, None),
    )
    return [
        (label, tolerance.text, tolerance.drop_text(drop, error), tolerance.allows(drop))
        for label, drop, error in found
    ]


def limit_rows(goal: Goal, is_share: bool) -> list[tuple[str, ...]]:
    """Return a row for each limit, in the order in which they were tried."""
    tolerance = tolerance_of(goal, is_share)
    return [_row(one, tolerance) for one in goal.limits]


def ended_line(goal: Goal, is_share: bool) -> str:
    """Return what was minimised and why the search ended, one sentence."""
    allowed = tolerance_of(goal, is_share).text
    return f"Lowest {goal.minimise} within {allowed}; the end: {_ENDED[goal.ended]}."


def _row(one: LimitTried, tolerance: Tolerance) -> tuple[str, ...]:
    share = "" if one.share is None else share_text(one.share, 1.0)
    drop = "" if one.drop is None else tolerance.drop_text(one.drop)
    outcome = "within" if one.within else one.reason or "too much"
    return (one.limit, str(one.evaluations), share, drop, outcome)
