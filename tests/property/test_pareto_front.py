"""Whatever was found: members of a front do not dominate each other, and all others are."""

from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.limit import Limit
from autoprune.core.pareto import Pareto, dominators

figures = st.floats(0, 1) | st.sampled_from([0.25, 0.5, 0.75])
models = st.lists(st.tuples(figures, figures), max_size=12)
ends = st.lists(st.floats(0.001, 1), min_size=2, max_size=2, unique=True).map(sorted)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Tell whether a quality and cost are at least as good, and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


@given(models)
def test_members_do_not_dominate_each_other_and_dominate_all_others(
    found: list[tuple[float, float]],
) -> None:
    by = dominators(found)
    members = [one for one, better in zip(found, by, strict=True) if better is None]
    assert len(set(members)) == len(members)
    assert not any(dominates(a, b) for a in members for b in members)
    for one, better in zip(found, by, strict=True):
        if better is not None:
            assert found[better] in members
            assert dominates(found[better], one) or found[better] == one


@given(ends, st.integers(2, 9))
def test_limits_rise_from_one_end_of_the_range_to_the_other(
    range_: list[float], points: int
) -> None:
    low, high = (Limit(amount, relative=True) for amount in range_)
    found = [limit.amount for limit in Pareto("macs", low, high).limits(high, 0.0, points)]
    assert (found[0], found[-1]) == (low.amount, high.amount)
    assert found == sorted(set(found))
    assert len(found) <= points
