from typing import Any

import pytest

from autoprune.core.budget import Budget
from autoprune.core.costs import Costs
from autoprune.core.limit import Limit
from autoprune.errors import BudgetError

OTHERS: Any = {"memory": 9, "sparse_macs": 9, "sparse_size": 9}
DENSE = Costs(macs=1_000_001, params=3_000, size=12_345, **OTHERS)


@pytest.mark.parametrize(
    ("given", "cost", "limit"),
    [
        ("macs=50%", "macs", Limit(0.5, True)),
        ("macs = 12.5 %", "macs", Limit(0.125, True)),
        ("macs=1.2G", "macs", Limit(1.2e9, False)),
        ("params=2M", "params", Limit(2e6, False)),
        ("size=10MB", "size", Limit(1e7, False)),
        ("size=1kib", "size", Limit(1024, False)),
        ({"macs": 1000}, "macs", Limit(1000, False)),
        ({"params": ".5k"}, "params", Limit(500, False)),
        (["size=100%"], "size", Limit(1.0, True)),
    ],
)
def test_amounts_are_read(given: Any, cost: str, limit: Limit) -> None:
    assert Budget.parse(given).limits == {cost: limit}


def test_one_mac_is_two_flops() -> None:
    assert Budget.parse("flops=2G") == Budget.parse("macs=1G")
    assert Budget.parse("flops=50%") == Budget.parse("macs=50%")


def test_several_limits_hold_together() -> None:
    budget = Budget.parse("macs=50%,params=1k")
    inside = Costs(macs=500_000, params=1_000, size=10**9, **OTHERS)
    assert budget.met_by(inside, DENSE)
    assert not budget.met_by(Costs(macs=500_001, params=1_000, size=1, **OTHERS), DENSE)
    assert not budget.met_by(Costs(macs=500_000, params=1_001, size=1, **OTHERS), DENSE)


def test_a_share_is_of_the_dense_model_and_rounded_down() -> None:
    assert Budget.parse("macs=50%").resolve(DENSE) == {"macs": 500_000}
    assert Budget.parse("macs=100%").resolve(DENSE) == {"macs": DENSE.macs}


def test_the_order_in_which_limits_are_given_does_not_matter() -> None:
    assert Budget.parse("params=1k,macs=50%") == Budget.parse({"macs": "50%", "params": 1000})
    assert str(Budget.parse("params=1k,macs=50%")) == "macs=50%, params=1000"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one limit"),
        ("", "COST=LIMIT"),
        ("50%", "COST=LIMIT"),
        ("macss=50%", "Did you mean 'macs'"),
        ("latency=8ms", "names what runs the model.*latency=8ms@onnxruntime"),
        ("latency=8@onnxruntime", "A unit is missing in latency=8.*Allowed: %, us, ms, s"),
        ("weights=8MB", "Unknown cost 'weights'"),
        ("macs=50X", "Unknown unit 'X'.*Allowed: %, K, M, G, T"),
        ("params=10MB", "Unknown unit 'MB'"),
        ("macs=half", "Got 'half'"),
        ("macs=-5", "Got '-5'"),
        ("macs=0", "above 0"),
        ("macs=0%", "above 0%"),
        ("macs=101%", "at most 100%"),
        ("macs=50%,macs=60%", "more than once"),
        ("macs=50%,flops=1G", "more than once"),
        ({"macs": None}, "Got None"),
        ({"macs": True}, "Got True"),
        ({"macs": float("nan")}, "Got nan"),
    ],
)
def test_what_is_not_understood_is_said(given: Any, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Budget.parse(given)


def test_a_share_written_as_a_number_is_told_how_to_be_written() -> None:
    with pytest.raises(BudgetError, match=r"less than one.*write '50%'"):
        Budget.parse({"macs": 0.5})
