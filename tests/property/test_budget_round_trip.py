from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.budget import COSTS, Budget, Limit
from autoprune.core.costs import Costs

shares = st.floats(min_value=0.0, max_value=1.0, exclude_min=True, allow_subnormal=False)
amounts = st.floats(min_value=1.0, max_value=1e18) | st.integers(1, 10**18).map(float)
limits = st.builds(Limit, shares, st.just(True)) | st.builds(Limit, amounts, st.just(False))
budgets = st.dictionaries(st.sampled_from(COSTS), limits, min_size=1).map(Budget)
costs = st.builds(
    Costs, macs=st.integers(1, 10**12), params=st.integers(1, 10**9), size=st.integers(1, 10**10)
)


@given(budgets)
def test_parse_gives_back_what_to_dict_wrote(budget: Budget) -> None:
    assert Budget.parse(budget.to_dict()) == budget


@given(st.decimals(min_value="0.000001", max_value=100, places=6))
def test_a_share_is_written_as_it_was_typed(percent: Decimal) -> None:
    budget = Budget.parse(f"macs={percent:f}%")
    assert Budget.parse(str(budget)) == budget


@given(budgets, costs)
def test_a_resolved_limit_is_whole_and_met_by_itself(budget: Budget, dense: Costs) -> None:
    limits = budget.resolve(dense)
    assert all(isinstance(limit, int) for limit in limits.values())
    assert budget.met_by(Costs(**{**dense.as_dict(), **limits}), dense)


@given(st.sampled_from(COSTS), shares, costs)
def test_a_share_never_allows_more_than_the_dense_model(
    cost: str, share: float, dense: Costs
) -> None:
    limit = Budget({cost: Limit(share, True)}).resolve(dense)[cost]
    assert 0 <= limit <= dense.as_dict()[cost]
