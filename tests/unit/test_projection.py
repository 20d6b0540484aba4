"""Projection: any wish becomes feasible levels that use the budget up."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from autoprune.agent.feasible.projection import Projection, _nearest
from autoprune.core.budget import Budget
from autoprune.core.costs import EXACT, Costs
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.schema import UnitSpace
from autoprune.surgery.ids import Ids

Levels = dict[str, int]


@dataclass
class ChainCost:
    """Layers in a row between one input and one output: costs that anyone can work out."""

    atoms: dict[str, int]
    uncounted: tuple[str, ...] = ()

    @property
    def dense(self) -> Costs:
        return self.price({})

    def price(self, kept: dict[str, int]) -> Costs:
        widths = [1, *(kept.get(unit, atoms) for unit, atoms in self.atoms.items()), 1]
        params = sum(widths)
        macs = sum(a * b for a, b in pairwise(widths))
        return Costs(
            macs=macs,
            params=params,
            size=8 + 4 * params,
            memory=max(widths),
            sparse_macs=macs,
            sparse_size=8 + 4 * params,
        )

    def row(self, kept: dict[str, int]) -> Ids:
        return np.array([[kept.get(unit, atoms) for unit, atoms in self.atoms.items()]])

    def column(self, unit: str) -> int:
        return list(self.atoms).index(unit)

    def price_many(self, kept: Ids) -> dict[str, Ids]:
        rows = [self.price(dict(zip(self.atoms, map(int, row), strict=True))) for row in kept]
        return {name: np.array([row.as_dict()[name] for row in rows]) for name in self.named}

    @property
    def named(self) -> tuple[str, ...]:
        return EXACT


def chain(
    kept: dict[str, tuple[int, ...]],
    budget: Any,
    kind: Callable[..., ChainCost] = ChainCost,
    **changes: Any,
) -> Projection:
    spaces = {unit: UnitSpace(unit, at[0], ("channel.l1",), at) for unit, at in kept.items()}
    cost = kind({unit: at[0] for unit, at in kept.items()}, **changes)
    return Projection(cast(CostModel, cost), spaces, Budget.parse(budget))


def draw_levels(draw: st.DrawFn, most: int) -> dict[str, tuple[int, ...]]:
    """Draw the atoms kept at each level of up to ``most`` units."""
    kept = {}
    for number in range(draw(st.integers(1, most))):
        counts = draw(st.sets(st.integers(1, 30), min_size=2, max_size=8))
        kept[f"u{number}"] = tuple(sorted(counts, reverse=True))
    return kept


@st.composite
def projections(draw: st.DrawFn) -> Projection:
    """Draw a chain of up to five units and limits between its smallest and its dense costs."""
    kept = draw_levels(draw, 5)
    cost = ChainCost({unit: at[0] for unit, at in kept.items()})
    dense: dict[str, Any] = dict(cost.dense.as_dict())
    least: dict[str, Any] = cost.price({unit: at[-1] for unit, at in kept.items()}).as_dict()
    tight = draw(st.sampled_from(["macs", "params", "size"]))
    limits = {tight: draw(st.integers(least[tight], dense[tight] - 1))}
    for other in {"macs", "params", "size"} - {tight}:
        if draw(st.booleans()):
            limits[other] = draw(st.integers(least[other], dense[other]))
    return chain(kept, limits)


def wish_for(data: st.DataObject, projection: Projection) -> Levels:
    return {u: data.draw(st.integers(0, s.levels - 1)) for u, s in projection.spaces.items()}


@given(projections(), st.data())
def test_every_wish_becomes_feasible_and_no_unit_can_take_back_a_level(
    projection: Projection, data: st.DataObject
) -> None:
    levels = projection.project(wish_for(data, projection))
    assert levels.keys() == projection.spaces.keys()
    assert projection.feasible(levels)
    for unit, at in levels.items():
        assert 0 <= at < projection.spaces[unit].levels
        assert at == 0 or not projection.feasible(levels | {unit: at - 1})


@given(projections(), st.data())
def test_what_was_projected_stays_as_it_is(projection: Projection, data: st.DataObject) -> None:
    levels = projection.project(wish_for(data, projection))
    assert projection.project(levels) == levels


@given(projections(), st.data())
def test_a_level_more_costs_no_more(projection: Projection, data: st.DataObject) -> None:
    wish = wish_for(data, projection)
    for unit, at in wish.items():
        if at + 1 < projection.spaces[unit].levels:
            less = projection.price(wish | {unit: at + 1}).as_dict()
            assert all(less[name] <= v for name, v in projection.price(wish).as_dict().items())


def test_of_a_real_model_a_level_more_costs_less(
    cost: CostModel, spaces: dict[str, UnitSpace]
) -> None:
    projection = Projection(cost, spaces, Budget.parse("macs=50%"))
    for stem in range(4):
        for inner in range(4):
            kept = (spaces["stem"].kept[stem], spaces["inner"].kept[inner])
            macs = 36 * (9 * kept[0] + 2 * 9 * kept[0] * kept[1]) + 3 * kept[0]  # by hand
            assert projection.price({"stem": stem, "inner": inner}).macs == macs
            assert projection.feasible({"stem": stem, "inner": inner}) == (macs <= 64824 // 2)


FOUR: dict[str, tuple[int, ...]] = {
    "a": (8, 6, 4, 2),
    "b": (8, 6, 4, 2),
}  # dense: 80 MACs, 18 params, 80 bytes


@pytest.mark.parametrize(
    ("budget", "wish", "levels"),
    [
        # 8 + 8b + b macs: b = 4 gives 44, b = 6 gives 62
        ("macs=50", {"a": 0, "b": 2}, {"a": 0, "b": 2}),
        ("macs=50", {"a": 2, "b": 0}, {"a": 2, "b": 0}),
        ("macs=50", {"a": 0, "b": 3}, {"a": 0, "b": 2}),  # more than needed is given back
        ("macs=50", {"a": 0, "b": 0}, {"a": 1, "b": 1}),  # 6 + 36 + 6 = 48
        ("macs=8", {"a": 1, "b": 0}, {"a": 3, "b": 3}),  # 2 + 4 + 2: only the smallest fits
        ("params=10", {"a": 2, "b": 2}, {"a": 2, "b": 2}),
        ("macs=50,params=10", {"a": 0, "b": 2}, {"a": 1, "b": 3}),  # params are tighter: 6 + 2
        ("macs=8,params=17", {"a": 0, "b": 2}, {"a": 3, "b": 3}),  # MACs are
        ("size=48", {"a": 2, "b": 2}, {"a": 2, "b": 2}),  # 8 + 4 x 10
        ("macs=50%", {"a": 1, "b": 2}, {"a": 1, "b": 2}),  # 6 + 24 + 4 = 34 of 40
    ],
)
def test_small_cases_by_hand(budget: str, wish: Levels, levels: Levels) -> None:
    assert chain(FOUR, budget).project(wish) == levels


def test_on_the_way_to_the_smallest_model_each_unit_takes_its_nearest_level() -> None:
    """Halves are between two levels: the larger one is taken."""
    assert _nearest(
        np.array([9, 6, 5, 1]), np.array([[12, 9, 7.5, 7.4], [5.5, 3, 2.9, 0]])
    ).tolist() == [
        [0, 0, 0, 1],
        [1, 2, 3, 3],
    ]
    assert _nearest(np.array([4]), np.array([9.0, 0.0])).tolist() == [0, 0]


def test_an_impossible_budget_names_the_smallest_that_can_be_reached() -> None:
    with pytest.raises(BudgetError) as caught:
        chain(FOUR, "macs=7")
    message = str(caught.value)
    assert "The budget macs=7 cannot be reached" in message
    assert "macs 8 (10.0% of dense), params 6 (33.3% of dense), size 32 (40.0%" in message
    assert "Set a higher limit" in message


def test_one_impossible_limit_of_several_is_enough() -> None:
    with pytest.raises(BudgetError, match=r"macs=50%, params=5 cannot be reached.* params 6 "):
        chain(FOUR, "macs=50%,params=5")


def test_the_smallest_reachable_budget_can_be_reached() -> None:
    assert chain(FOUR, "macs=8,params=6,size=32").project({"a": 0, "b": 0}) == {"a": 3, "b": 3}


@pytest.mark.parametrize("budget", ["macs=100%", "macs=80", "size=1MB", "macs=80,params=18"])
def test_a_budget_that_is_met_already_says_what_the_model_has(budget: str) -> None:
    with pytest.raises(BudgetError, match=r"meets the budget .* already.*macs 80 \(100.0%"):
        chain(FOUR, budget)


def test_one_limit_that_is_not_met_is_reason_to_search() -> None:
    assert chain(FOUR, "macs=80,params=17").project({"a": 0, "b": 1}) == {"a": 0, "b": 1}


@given(projections(), st.floats(0, 0.1), st.data())
def test_a_margin_leaves_a_budget_that_can_be_reached(
    projection: Projection, margin: float, data: st.DataObject
) -> None:
    (cost, *_) = projection.budget.limits
    limit = projection.budget.resolve(projection.cost.dense)[cost]
    least = projection.price({u: s.levels - 1 for u, s in projection.spaces.items()})
    projection.keep_away(cost, margin)
    aim = limit * projection.tightened[cost]
    assert aim >= (limit + least.as_dict()[cost]) / 2 * (1 - 1e-12)
    assert limit * (1 - margin) * (1 - 1e-12) <= aim <= limit
    found = projection.price(projection.project(wish_for(data, projection))).as_dict()[cost]
    assert found <= aim * (1 + 1e-12)


def test_a_margin_is_what_it_was_asked_to_be_where_there_is_room() -> None:
    projection = chain(FOUR, "macs=62")
    projection.keep_away("macs", 0.1)
    assert projection.tightened == {"macs": 0.9}
    assert projection.price(projection.project({"a": 0, "b": 1})).macs == 48  # 62 is too many now
    near = chain(FOUR, "macs=8,params=17")
    near.keep_away("macs", 0.1)
    assert near.tightened == {"macs": 1}, "the smallest model alone is inside"


# --- latency: no limit of it need be monotone


@dataclass
class StairCost(ChainCost):
    """A chain whose latency rises every few atoms, and that is slower off the step."""

    step: int = 4
    penalty: float = 7.0

    def price(self, kept: dict[str, int]) -> Costs:
        widths = [kept.get(unit, atoms) for unit, atoms in self.atoms.items()]
        stairs = [-(-w // self.step) * self.step for w in widths]
        off = sum(self.penalty for w in widths if w % self.step)
        return replace(super().price(kept), latency={"fake": float(sum(stairs)) + off})

    @property
    def named(self) -> tuple[str, ...]:
        return (*EXACT, "latency@fake")


@st.composite
def staircases(draw: st.DrawFn) -> Projection:
    """Draw a chain, and limits on latency and others that the smallest model meets."""
    kept = draw_levels(draw, 4)
    step, penalty = draw(st.integers(1, 8)), draw(st.floats(0, 30))
    cost = StairCost({unit: at[0] for unit, at in kept.items()}, step=step, penalty=penalty)
    least: dict[str, Any] = cost.price({u: at[-1] for u, at in kept.items()}).as_dict()
    dense: dict[str, Any] = dict(cost.dense.as_dict())
    latency = draw(
        st.floats(least["latency@fake"], max(dense["latency@fake"], least["latency@fake"]))
    )
    limits: dict[str, Any] = {"latency": f"{latency!r}ms@fake"}
    for other in ("macs", "params"):
        if draw(st.booleans()):
            limits[other] = draw(st.integers(least[other], dense[other]))
    try:
        return chain(kept, limits, StairCost, step=step, penalty=penalty)
    except BudgetError:  # the dense model is inside, or nothing that is limited moves
        reject()


@given(staircases(), st.data())
def test_with_a_latency_that_is_not_monotone_every_wish_becomes_feasible(
    projection: Projection, data: st.DataObject
) -> None:
    levels = projection.project(wish_for(data, projection))
    assert projection.feasible(levels)
    found = projection.price(levels).as_dict()
    limits = projection.budget.resolve(projection.cost.dense)
    assert all(found[cost] <= limit for cost, limit in limits.items())
    for unit, at in levels.items():
        if not idle(projection, unit):
            assert at == 0 or not projection.feasible(levels | {unit: at - 1})


def idle(projection: Projection, unit: str) -> bool:
    """Tell whether nothing that is limited depends on a unit."""
    own = [projection.price({unit: at}) for at in range(projection.spaces[unit].levels)]
    return all(len({one.as_dict()[cost] for one in own}) == 1 for cost in projection.budget.limits)


def test_a_floor_of_latency_is_told_where_multiply_adds_fell_much_further() -> None:
    kept: dict[str, tuple[int, ...]] = {"a": (12, 6, 1), "b": (16, 8, 1)}
    with pytest.raises(BudgetError, match=r"MACs fell much further than its latency.* higher li"):
        chain(kept, "latency=10ms@fake", StairCost, step=8, penalty=0.0)
    with pytest.raises(BudgetError) as caught:
        chain({"a": (16, 15), "b": (16, 15)}, "latency=10ms@fake", StairCost, step=1, penalty=0.0)
    assert "fell much further" not in str(caught.value)


def test_a_unit_whose_smallest_is_as_slow_as_its_largest_is_no_idle_one() -> None:
    """5 of 8 atoms take 12 ms, both 8 and 1 take 8."""
    kept: dict[str, tuple[int, ...]] = {"a": (8, 5, 1), "b": (16, 8, 4)}
    projection = chain(kept, "latency=16ms@fake", StairCost, penalty=4.0)
    levels = projection.project({"a": 1, "b": 1})
    assert projection.feasible(levels)
    assert projection.price(levels).latency["fake"] == 16.0


def test_slack_that_a_quicker_level_leaves_is_spent() -> None:
    """3 atoms of u0 are quicker than 2, which makes room for those of u1."""
    kept: dict[str, tuple[int, ...]] = {"u0": (3, 2, 1), "u1": (4, 1), "u2": (4, 2, 1)}
    projection = chain(kept, "latency=18ms@fake", StairCost, step=3, penalty=3.0)
    levels = projection.project(dict.fromkeys(kept, 0))
    assert projection.price(levels).latency["fake"] == 18.0


@given(staircases(), st.data(), st.floats(0.5, 1.0))
def test_after_tightening_the_tighter_limit_is_met(
    projection: Projection, data: st.DataObject, share: float
) -> None:
    try:
        projection.tighten("latency@fake", share)
    except BudgetError as err:
        assert "ms), but the smallest that can be reached is" in str(err)  # noqa: PT017
        return
    levels = projection.project(wish_for(data, projection))
    limit = projection.budget.resolve(projection.cost.dense)["latency@fake"]
    assert projection.price(levels).latency["fake"] <= share * limit


AB: dict[str, tuple[int, ...]] = {"a": (16, 14, 12, 8, 4), "b": (16, 12, 8, 4)}


@pytest.mark.parametrize(
    ("budget", "wish", "levels"),
    [
        # 12 + 12 is 24; 14 takes 16 + 7 = 23, more than the 16 of dense
        ("latency=24ms@fake", {"a": 1, "b": 1}, {"a": 2, "b": 1}),
        ("latency=32ms@fake,macs=250", {"a": 1, "b": 0}, {"a": 2, "b": 0}),
        ("latency=75%@fake,params=100%", {"a": 2, "b": 1}, {"a": 2, "b": 1}),
    ],
)
def test_small_staircases_by_hand(budget: str, wish: Levels, levels: Levels) -> None:
    assert chain(AB, budget, StairCost).project(wish) == levels


def test_the_limit_that_binds_is_named_with_the_smallest_that_can_be_reached() -> None:
    with pytest.raises(BudgetError) as caught:
        chain(AB, "latency=7.5ms@fake,macs=50%,params=90%", StairCost)
    message = str(caught.value)
    assert "latency=7.5ms@fake, but the smallest that can be reached is 8 ms. The" in message
    assert "macs is limited" not in message
    assert "params is limited" not in message
    assert "latency@fake 8 ms (25.0% of dense)" in message


def test_of_several_that_bind_each_is_named() -> None:
    with pytest.raises(BudgetError, match=r": macs=10, but .* 24; latency=1ms@fake, but"):
        chain(AB, "latency=1ms@fake,macs=10", StairCost)


def test_the_smallest_model_may_be_one_of_lower_levels() -> None:
    # 8 channels take 8 ms, 5 channels 15 ms: 8, and 7 off the step
    kept: dict[str, tuple[int, ...]] = {"a": (16, 8, 5), "b": (16, 8, 5)}
    projection = chain(kept, "latency=17ms@fake", StairCost)
    assert projection.project({"a": 2, "b": 2}) == {"a": 1, "b": 1}
    with pytest.raises(BudgetError, match=r"smallest that can be reached is 16 ms"):
        chain(kept, "latency=15ms@fake", StairCost)


def test_of_limits_that_bind_together_each_has_its_own_smallest() -> None:
    kept: dict[str, tuple[int, ...]] = {"a": (16, 8, 5)}
    with pytest.raises(BudgetError) as caught:
        chain(kept, "latency=6ms@fake,params=1", StairCost)
    message = str(caught.value)
    assert "params=1, but the smallest that can be reached is 7;" in message
    assert "latency=6ms@fake, but the smallest that can be reached is 8 ms." in message


def test_tightening_twice_multiplies_and_ends_where_nothing_is_left() -> None:
    projection = chain(AB, "latency=24ms@fake", StairCost)
    projection.tighten("latency@fake", 0.9)
    projection.tighten("latency@fake", 0.8)
    assert projection.tightened == {"latency@fake": pytest.approx(0.72)}
    levels = projection.project({"a": 0, "b": 0})
    assert projection.price(levels).latency["fake"] <= 0.72 * 24
    with pytest.raises(BudgetError, match=r"latency=24ms@fake \(1\.73 ms\), but .* is 8 ms"):
        projection.tighten("latency@fake", 0.1)
