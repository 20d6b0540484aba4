"""Many policies at once, zeros, and what nobody counts."""

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.agent.feasible.projection import Projection
from autoprune.core.budget import Budget
from autoprune.core.costs import EXACT, Costs
from autoprune.core.policy import Choice, Policy
from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.cost.products import Factors, Products, digits
from autoprune.errors import BudgetError
from autoprune.evaluation.pruning.importance import Importance
from autoprune.evaluation.pruning.sparsify import sparsify
from autoprune.space.schema import SearchSpace
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Factor, Plan


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def planned(model: nn.Module, x: Tensor) -> Plan:
    return discover(model, [x], np.random.default_rng(0))


# --- products


@given(st.lists(st.integers(0, 10**17)))
def test_digits_are_those_of_the_written_number(numbers: list[int]) -> None:
    found = digits(np.array(numbers, np.int64))
    assert found.tolist() == [len(str(number)) for number in numbers]


@pytest.mark.parametrize("power", range(18))
def test_digits_at_powers_of_ten(power: int) -> None:
    assert digits(np.array([10**power - 1, 10**power])).tolist() == [max(power, 1), power + 1]


FACTORS = st.builds(
    Factor,
    st.integers(0, 9),
    st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple),
        st.integers(-3, 9),
        max_size=3,
    ),
)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.lists(FACTORS, max_size=3)), max_size=5),
    st.lists(st.tuples(*[st.integers(0, 20)] * 3), min_size=1, max_size=4),
)
def test_products_are_those_of_plain_numbers(
    items: list[tuple[int, list[Factor]]], rows: list[tuple[int, ...]]
) -> None:
    factors = Factors("abc")
    products = Products(factors, items)
    found = products.values(factors.values(np.array(rows)))
    assert found.shape == (len(rows), len(items))
    for row, own in zip(rows, found, strict=True):
        kept = dict(zip("abc", row, strict=True))
        assert own.tolist() == [c * prod(f.value(kept) for f in parts) for c, parts in items]


def test_equal_factors_are_one_column() -> None:
    factors = Factors("ab")
    numbers = [factors.number(Factor(0, {("a",): 2, ("b",): n})) for n in (1, 1, 2)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert factors.values(np.array([[3, 5]])).tolist() == [[11, 16]]


# --- many rows


class Net(nn.Module):
    """Two residual blocks, a concatenation and a depthwise layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(Block(), Block())
        self.side = nn.Conv2d(8, 10, 1)
        self.depthwise = nn.Conv2d(18, 18, 3, groups=18)
        self.head = nn.Linear(18, 4)

    def forward(self, x: Tensor) -> Any:
        y = self.blocks(self.stem(x).relu())
        y = self.depthwise(torch.cat([y, self.side(y)], 1))
        return self.head(y.relu().mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 1)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Any:
        return x + self.b(self.norm(self.a(x)).relu())


def drawn(plan: Plan, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    lowest = [int(plan.kinds[unit] != "block") for unit in plan.atoms]
    return np.stack(
        [
            [
                rng.integers(low, atoms + 1)
                for low, atoms in zip(lowest, plan.atoms.values(), strict=True)
            ]
            for _ in range(count)
        ]
    )


def test_many_policies_cost_what_each_does() -> None:
    model = Net()
    plan = planned(model, images(2, 3, 8, 8))
    prices = CostModel(model, plan)
    rows = drawn(plan, 700)  # more than are priced at a time
    found = prices.price_many(rows)
    assert set(found) == set(EXACT)
    for number in (0, 1, 511, 512, 699):
        kept = dict(zip(prices.units, map(int, rows[number]), strict=True))
        assert {name: column[number] for name, column in found.items()} == (
            prices.price(kept).as_dict()
        )
        assert np.array_equal(prices.row(kept), rows[[number]])
        assert all(rows[number][prices.column(unit)] == kept[unit] for unit in kept)


def test_the_cut_model_costs_the_price() -> None:
    model, x = Net(), images(2, 3, 8, 8)
    plan = planned(model, x)
    prices = CostModel(model, plan)
    for row in drawn(plan, 25):
        kept = dict(zip(prices.units, map(int, row), strict=True))
        own = {name: kept[name] for name in plan.units}
        gone = {name: np.arange(n, plan.units[name].atoms) for name, n in own.items()}
        assert prices.price(own) == count_costs(apply(model, plan, gone), [x], 2), own


def test_ten_thousand_policies_are_priced_at_once() -> None:
    model = Net()
    plan = planned(model, images(2, 3, 8, 8))
    prices, rows = CostModel(model, plan), drawn(plan, 10_000)
    found = prices.price_many(rows)
    assert all(column.shape == (10_000,) for column in found.values())
    for name, column in prices.price_many(rows[-3:]).items():
        assert np.array_equal(found[name][-3:], column)


# --- zeros


def shuffled_scores(model: nn.Module, plan: Plan, key: str) -> Importance:
    members = {name for unit in plan.weights.values() for name in unit.members}
    scores = {name: model.get_parameter(name).detach().abs() for name in members}
    return Importance({}, {key: scores}, 0)


@pytest.mark.parametrize("names", [["blocks.0.a.weight"], ["head.weight", "side.weight"]])
@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
def test_zeros_chosen_tensor_by_tensor_cost_what_is_counted(
    names: list[str], sparsity: float
) -> None:
    model, x = Net(), images(2, 3, 8, 8)
    plan = planned(model, x)
    prices = CostModel(model, plan)
    kept = {n: plan.weights[n].atoms - round(sparsity * plan.weights[n].atoms) for n in names}
    found = prices.price(kept)
    policy = Policy(
        {n: Choice("unstructured.l1", 1 - kept[n] / plan.weights[n].atoms) for n in names}
    )
    sparse = apply(model, plan, {})
    sparsify(sparse, plan, policy, shuffled_scores(model, plan, "weights.l1"), plan.cut({}))
    assert found == count_costs(sparse, [x], 2)
    assert found.sparse_macs < prices.dense.sparse_macs
    assert (found.macs, found.size) == (prices.dense.macs, prices.dense.size)


def test_two_of_four_halves_what_multiplies() -> None:
    model, x = Net(), images(2, 3, 8, 8)
    plan = planned(model, x)
    prices = CostModel(model, plan)
    name = "blocks.0.a.weight"  # 6 x 8 x 3 x 3: whole groups of four
    found = prices.price({name: plan.weights[name].atoms // 2})
    sparse = apply(model, plan, {})
    policy = Policy({name: Choice("2:4.l1", 0.5)})
    sparsify(sparse, plan, policy, shuffled_scores(model, plan, "weights.l1"), plan.cut({}))
    assert float((sparse.get_parameter(name) == 0).double().mean()) == 0.5
    assert found == count_costs(sparse, [x], 2)
    elements = 6 * 8 * 9
    assert prices.dense.sparse_macs - found.sparse_macs == 64 * elements // 2
    saved = 4 * elements - (elements // 8 + 4 * elements // 2)
    assert prices.dense.sparse_size - found.sparse_size == saved


def zeroed(
    plan: Plan, prices: CostModel, model: nn.Module, policy: Policy, cut: dict[str, int]
) -> tuple[Costs, Costs]:
    """Return what a policy of single weights and a cut are priced, and what they count."""
    kept = {u: plan.atoms[u] - round(c.sparsity * plan.atoms[u]) for u, c in policy.items()}
    gone = {unit: np.arange(count, plan.atoms[unit]) for unit, count in cut.items()}
    sparse = apply(model, plan, gone)
    sparsify(sparse, plan, policy, shuffled_scores(model, plan, "weights.l1"), plan.cut(gone))
    return prices.price({**kept, **cut}), count_costs(sparse, [images(2, 3, 8, 8)], 2)


@pytest.mark.parametrize("units", [["stem.weight"], ["depthwise.weight"], ["weights"]])
@pytest.mark.parametrize("cut", [{}, {"blocks.0.a": 5}])
def test_a_pattern_costs_what_whole_groups_lose(units: list[str], cut: dict[str, int]) -> None:
    model = Net()
    plan = planned(model, images(2, 3, 8, 8))
    prices = CostModel(model, plan, patterns={unit: [(2, 4)] for unit in units})
    policy = Policy({unit: Choice("2:4.l1", 0.5) for unit in units})
    found, counted = zeroed(plan, prices, model, policy, cut)
    assert found == counted
    few = units != ["weights"]  # one, three and 18 input channels: rests of one, three and two
    assert (found.sparse_macs == found.macs) == few


@pytest.mark.parametrize("kept", [1, 3, 5])
@pytest.mark.parametrize("gone", [1, 101, 215, 333, 431])
def test_what_is_cut_and_zeroed_costs_what_is_counted(kept: int, gone: int) -> None:
    model = Net()
    plan = planned(model, images(2, 3, 8, 8))
    name = "blocks.0.a.weight"
    policy = Policy({name: Choice("unstructured.l1", gone / plan.atoms[name])})
    found, counted = zeroed(plan, CostModel(model, plan), model, policy, {"blocks.0.a": kept})
    assert found == counted


def test_two_units_of_one_tensor_take_the_same_weights() -> None:
    model = Net()
    plan = planned(model, images(2, 3, 8, 8))
    name = "blocks.0.a.weight"
    prices = CostModel(model, plan, patterns={name: [(2, 4)], "weights": [(2, 4)]})
    policy = Policy({name: Choice("2:4.l1", 0.5), "weights": Choice("2:4.l1", 0.5)})
    found, counted = zeroed(plan, prices, model, policy, {})
    assert found == counted
    assert found == prices.price({"weights": plan.atoms["weights"] // 2})


def test_a_bit_mask_never_makes_a_file_larger() -> None:
    model, x = Net(), images(2, 3, 8, 8)
    plan = planned(model, x)
    name = "head.weight"
    found = CostModel(model, plan).price({name: plan.weights[name].atoms - 1})
    assert found.sparse_size == found.size - max(4 * 72 - (9 + 4 * 71), 0) == found.size


# --- what nobody counts


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 8)
        self.lstm = nn.LSTM(8, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        y, _ = self.lstm(self.b(self.a(x).relu()))
        return self.head(y.mean(1))


@torch.library.custom_op("autoprune_tests::doubled", mutates_args=())
def doubled(x: Tensor) -> Tensor:
    return 2 * x


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(doubled(self.b(self.a(x).relu())).mean(1))


@pytest.mark.parametrize(
    ("make", "op"), [(Recurrent, "aten.mkldnn_rnn"), (Custom, "autoprune_tests.doubled")]
)
def test_an_op_that_nobody_counts_is_named_and_refuses_limits_on_macs(
    make: type[nn.Module], op: str
) -> None:
    model, x = make().eval(), images(2, 4, 8)
    plan = planned(model, x)
    prices = CostModel(model, plan)
    assert any(name.startswith(op) for name in prices.uncounted), prices.uncounted
    space = SearchSpace.model_validate({"methods": ["channel.l1"], "sparsities": [0.5]})
    spaces = space.resolve(plan.atoms, plan.kinds)
    for budget in ("macs=80%", "sparse_macs=80%", "params=80%,macs=90%"):
        with pytest.raises(BudgetError, match=rf"cannot be decided.*{op}.*lower bound.*params"):
            Projection(prices, spaces, Budget.parse(budget))
    for budget in ("params=90%", "size=95%"):
        assert Projection(prices, spaces, Budget.parse(budget)).project({"a": 1}) == {"a": 1}


def test_a_model_of_known_ops_is_counted_whole() -> None:
    model = Net()
    assert CostModel(model, planned(model, images(2, 3, 8, 8))).uncounted == ()
