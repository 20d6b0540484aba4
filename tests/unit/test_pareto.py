"""What a front is asked for, its limits, and who is on it: all worked out by hand."""

from typing import Any

import pytest

from autoprune.core.budget import Budget
from autoprune.core.limit import Limit
from autoprune.core.pareto import Pareto, dominators, front_text, read_front_text
from autoprune.errors import BudgetError


def share(amount: float) -> Limit:
    return Limit(amount, relative=True)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("macs", Pareto("macs")),
        ("flops", Pareto("macs")),
        ({"params": None}, Pareto("params")),
        ("macs=25%..75%", Pareto("macs", share(0.25), share(0.75))),
        ({"macs": "25%..75%"}, Pareto("macs", share(0.25), share(0.75))),
        ("flops=1G..2G", Pareto("macs", Limit(5e8, False), Limit(1e9, False))),
        ("latency@onnxruntime/threads=1", Pareto("latency@onnxruntime/threads=1")),
        (
            "latency=4ms..8ms@onnxruntime/threads=1",
            Pareto("latency@onnxruntime/threads=1", Limit(4, False, "ms"), Limit(8, False, "ms")),
        ),
    ],
)
def test_a_front_is_a_cost_and_maybe_a_range(given: Any, found: Pareto) -> None:
    assert Pareto.parse(given) == found
    assert Pareto.parse(str(found)) == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mac", "Unknown cost 'mac' in the budget. Did you mean 'macs'"),
        ("macs=50%", r"a cost and a range LOW\.\.HIGH: .*Got macs=50%"),
        ("macs=75%..25%", "The lower end of a range comes first.*Got macs=75%..25%"),
        ("macs=25%..3M", "Both ends of a range are shares, or both are amounts"),
        ("macs=0%..50%", "must be above 0%"),
        ("latency", "A limit on latency names what runs the model"),
        ("latency=4ms..8ms", "A limit on latency names what runs the model"),
        ({"macs": "20%..40%", "size": "20%..40%"}, "A front is about one cost"),
    ],
)
def test_what_is_no_front_is_explained(given: Any, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Pareto.parse(given)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.2, None, "a front on macs has no upper end"),
        (None, 0.5, "a front on macs has no lower end"),
        (0.5, 0.2, "The lower end of a range comes first.*Got macs=50%..20%"),
    ],
)
def test_a_front_that_is_built_by_hand_is_checked_too(
    low: float | None, high: float | None, message: str
) -> None:
    """A resumed run is compared by the text of its front, which tells both ends or none."""
    ends = (None if end is None else share(end) for end in (low, high))
    with pytest.raises(BudgetError, match=message):
        Pareto("macs", *ends)


def test_the_widest_budget_holds_the_other_limits_and_the_upper_end() -> None:
    assert Pareto.parse("macs").widest(None) == Budget.parse("macs=80%")
    assert Pareto.parse("macs").widest(Budget.parse("macs=60%")) == Budget.parse("macs=60%")
    ranged = Pareto.parse("macs=25%..75%")
    assert ranged.widest(Budget.parse("macs=50%,size=1MB")) == Budget.parse("macs=75%,size=1MB")


def test_each_limit_is_the_same_share_of_the_next() -> None:
    found = Pareto.parse("macs=20%..80%").limits(share(0.8), 0.01, 3)
    assert found == [share(0.2), share(0.4), share(0.8)]
    found = Pareto.parse("macs=1K..8K").limits(Limit(8000, False), 10, 4)
    assert [limit.amount for limit in found] == [1000, 2000, 4000, 8000]
    found = Pareto.parse("macs=25%..75%").limits(share(0.75), 0.01, 5)
    assert [str(limit) for limit in found] == ["25%", "32.9%", "43.3%", "57%", "75%"]


def test_without_a_range_it_begins_at_a_quarter_of_the_upper_end_or_above_the_smallest() -> None:
    macs = Pareto.parse("macs")
    assert macs.limits(share(0.8), 0.01, 2)[0] == share(0.2)
    assert macs.limits(share(0.8), 0.4321, 2)[0] == share(0.476)  # 10% above it, rounded up
    with pytest.raises(
        BudgetError, match=r"below macs=80%: the smallest .* has 75%. Set a higher"
    ):
        macs.limits(share(0.8), 0.75, 2)


def test_a_narrow_range_has_fewer_limits_than_points() -> None:
    found = Pareto.parse("macs=50%..50.1%").limits(share(0.501), 0.01, 5)
    assert found == [share(0.5), share(0.501)]


def test_who_is_as_good_and_costs_no_more_dominates() -> None:
    assert dominators([]) == []
    assert dominators([(0.9, 0.5)]) == [None]
    assert dominators([(0.8, 0.2), (0.9, 0.5), (0.95, 0.8)]) == [None, None, None]
    # as good at more cost, worse at the same cost, worse at more cost
    assert dominators([(0.9, 0.5), (0.9, 0.6), (0.8, 0.5), (0.7, 0.7)]) == [None, 0, 0, 0]
    assert dominators([(0.7, 0.7), (0.9, 0.5)]) == [1, None], "in any order"
    assert dominators([(0.9, 0.5), (0.9, 0.5)]) == [None, 0], "of equal ones the first stays"


def test_rounding_leaves_no_limit_outside_its_range() -> None:
    low, high = 0.50051, 0.50052
    found = Pareto("macs", share(low), share(high)).limits(share(high), 0.01, 5)
    assert found == [share(low), share(high)]


@pytest.mark.parametrize("given", ["latency", "macs=..50%", "foo", "size=25%..75%@onnxruntime"])
def test_what_is_wrong_is_said_of_the_front_that_was_given(given: str) -> None:
    with pytest.raises(BudgetError, match=r"The front .* is not understood") as caught:
        Pareto.parse(given)
    assert repr(given) in str(caught.value)
    assert "latency=20%..60%@onnxruntime" in str(caught.value)


def test_a_front_in_the_settings_of_a_run_is_read_as_it_was_asked() -> None:
    front = Pareto.parse("latency=20%..60%@onnxruntime")
    text, points = read_front_text(front_text(front, 5))
    assert (Pareto.parse(text), points) == (front, 5)
