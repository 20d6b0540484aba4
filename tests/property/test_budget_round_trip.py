from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.budget import Budget
from autoprune.core.costs import EXACT, Costs
from autoprune.core.limit import Limit

shares = st.floats(min_value=0.0, max_value=1.0, exclude_min=True, allow_subnormal=False)
amounts = st.floats(min_value=1.0, max_value=1e18) | st.integers(1, 10**18).map(float)
limits = st.builds(Limit, shares, st.just(True)) | st.builds(Limit, amounts, st.just(False))
targets = st.sampled_from(["latency@onnxruntime", "latency@pytorch/batch=8/threads=1"])
latencies = st.floats(min_value=1e-3, max_value=1e6).map(lambda ms: Limit(ms, False, "ms"))
exact = st.dictionaries(st.sampled_from(EXACT), limits, min_size=1)
timed = st.dictionaries(targets, st.builds(Limit, shares, st.just(True)) | latencies)
budgets = st.builds(lambda some, more: Budget({**some, **more}), exact, timed)
whole = {name: st.integers(1, 10**12) for name in EXACT}
costs = st.builds(Costs, **whole)


@given(budgets)
def test_parse_gives_back_what_to_dict_wrote(budget: Budget) -> None:
    assert Budget.parse(budget.to_dict()) == budget


@given(st.decimals(min_value="0.000001", max_value=100, places=6))
def test_a_share_is_written_as_it_was_typed(percent: Decimal) -> None:
    budget = Budget.parse(f"macs={percent:f}%")
    assert Budget.parse(str(budget)) == budget


@given(exact.map(Budget), costs)
def test_a_resolved_limit_is_whole_and_met_by_itself(budget: Budget, dense: Costs) -> None:
    limits = budget.resolve(dense)
    assert all(isinstance(limit, int) for limit in limits.values())
    inside: Any = {**dense.as_dict(), **limits}
    assert budget.met_by(Costs(**inside), dense)


@given(st.sampled_from(EXACT), shares, costs)
def test_a_share_never_allows_more_than_the_dense_model(
    cost: str, share: float, dense: Costs
) -> None:
    limit = Budget({cost: Limit(share, True)}).resolve(dense)[cost]
    assert 0 <= limit <= dense.as_dict()[cost]
