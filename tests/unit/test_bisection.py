"""Which limit comes next: halved by ratio, both ends tried, and an end to it."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.bisection import PRECISION, Bisection, Tried

MOST = 1 - PRECISION


def searched(
    found_at: Callable[[float], float | None], least: float = 0.03, most: float = MOST
) -> list[Tried]:
    """Try limits until there are none left; ``found_at`` returns the cost of what holds."""
    tried = list[Tried]()
    while (limit := Bisection(least, most, tried).next) is not None:
        tried.append(Tried(limit, found_at(limit)))
        assert len(tried) < 30, "it ends"
    return tried


def test_limits_are_halved_by_their_ratio() -> None:
    first = Bisection(0.04 / MOST, 1 * MOST)
    assert first.low == pytest.approx(0.04)
    assert first.high == pytest.approx(1)
    assert first.next == 0.2
    lower = Bisection(0.04 / MOST, MOST, [Tried(0.2, 0.16)])
    assert (lower.high, lower.next) == (0.16, 0.08)
    higher = Bisection(0.04 / MOST, MOST, [Tried(0.2, None)])
    assert (higher.low, higher.next) == (0.2, 0.447)


@pytest.mark.parametrize("threshold", [0.031, 0.05, 0.1, 0.3333, 0.62, 0.9])
def test_a_threshold_is_found_within_the_precision(threshold: float) -> None:
    tried = searched(lambda limit: limit if limit >= threshold else None)
    end = Bisection(0.03, MOST, tried)
    assert end.low < threshold <= end.high
    assert end.high * (1 - PRECISION) <= end.low * (1 + 1e-9)
    assert len(tried) <= 8


def test_where_all_hold_the_smallest_that_can_be_reached_is_tried() -> None:
    tried = searched(lambda limit: limit, least=0.03)
    assert tried[-1].limit == 0.03
    assert [one.limit for one in tried] == sorted((one.limit for one in tried), reverse=True)


@pytest.mark.parametrize("most", [MOST, 0.5, 3e6])
def test_where_none_holds_the_highest_limit_is_tried(most: float) -> None:
    tried = searched(lambda limit: None, least=0.03 * most, most=most)
    assert tried[-1].limit == most


def test_what_costs_less_than_its_limit_narrows_the_bracket() -> None:
    tried = searched(lambda limit: 0.3 if limit >= 0.3 else None)
    assert Bisection(0.03, MOST, tried).high == 0.3


def test_a_success_below_a_failure_wins() -> None:
    """As where few trials missed what more trials find."""
    after = Bisection(0.03, MOST, [Tried(0.17, None), Tried(0.4, None), Tried(0.6, 0.35)])
    assert (after.low, after.high) == (0.17, 0.35)
    assert after.next == 0.244


def test_whole_amounts_are_bisected_too() -> None:
    tried = searched(lambda limit: limit if limit >= 2.2e6 else None, least=1e5, most=9.5e6)
    end = Bisection(1e5, 9.5e6, tried)
    assert end.low < 2.2e6 <= end.high
    assert end.low >= 0.95 * end.high * (1 - 1e-9)


def test_a_least_of_nothing_is_no_end_of_it() -> None:
    assert len(searched(lambda limit: limit, least=0.0)) < 20


@given(
    least=st.floats(0.001, 0.9),
    span=st.floats(1.0, 200.0),
    outcomes=st.lists(st.tuples(st.booleans(), st.floats(0.3, 1.0)), min_size=40, max_size=40),
)
def test_the_bracket_holds_whatever_is_found(
    least: float, span: float, outcomes: list[tuple[bool, float]]
) -> None:
    """Limits lie inside the bracket and the range, what holds never rises, and it ends in time."""
    most = least * span
    tried = list[Tried]()
    most_left = Bisection(least, most).left
    while (limit := (now := Bisection(least, most, tried)).next) is not None:
        assert now.low < limit < now.high
        assert least * (1 - 1e-12) <= limit <= most
        assert limit not in [one.limit for one in tried]
        assert now.left >= 1
        holds, share = outcomes[len(tried)]
        tried.append(Tried(limit, share * limit if holds else None))
        after = Bisection(least, most, tried)
        assert after.high <= now.high
        assert after.low < after.high or after.next is None
    if all(share > 1 - PRECISION for _, share in outcomes):
        assert len(tried) <= most_left + 1
    held = [one.found for one in tried if one.found is not None]
    assert not held or Bisection(least, most, tried).high == min(held)


@given(st.floats(0.002, 0.94), st.floats(0.001, 0.9))
def test_of_a_monotone_truth_the_invariant_is_kept(threshold: float, part: float) -> None:
    """The threshold is always above what failed and at most what held."""
    least, tried = threshold * part, list[Tried]()
    while (limit := Bisection(least, MOST, tried).next) is not None:
        tried.append(Tried(limit, limit if limit >= threshold else None))
        now = Bisection(least, MOST, tried)
        assert now.low < threshold <= max(now.high, MOST)
    end = Bisection(least, MOST, tried)
    assert end.high <= threshold / (1 - PRECISION) * (1 + 1e-9) or math.isclose(end.high, 1.0)
