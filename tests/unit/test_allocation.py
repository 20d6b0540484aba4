"""Allocation against exhaustive search on chains small enough for it."""

from itertools import product
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.agent.feasible.allocation import Allocator
from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.marginal import Marginal
from autoprune.agent.feasible.projection import Projection
from autoprune.core.arrays import Floats
from autoprune.core.budget import Budget
from autoprune.core.costs import EXACT, Costs
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.schema import UnitSpace
from autoprune.surgery.ids import Ids

Kept = dict[str, tuple[int, ...]]


class Chain:
    """Layers in a row: the MACs of each are the product of the widths on both its sides.

    Units called ``idle`` cost nothing, as weights do that are only set to zero.
    """

    uncounted: tuple[str, ...] = ()

    def __init__(self, kept: Kept) -> None:
        self.atoms = {unit: at[0] for unit, at in kept.items()}
        self.dense = self.price({})

    def price(self, kept: dict[str, int]) -> Costs:
        found = {name: int(own[0]) for name, own in self.price_many(self.row(kept)).items()}
        return Costs(**found)  # type: ignore[arg-type]

    def row(self, kept: dict[str, int]) -> Ids:
        return np.array([[kept.get(unit, atoms) for unit, atoms in self.atoms.items()]])

    def column(self, unit: str) -> int:
        return list(self.atoms).index(unit)

    def price_many(self, kept: Ids) -> dict[str, Ids]:
        own = kept[:, [not unit.startswith("idle") for unit in self.atoms]]
        widths = np.pad(own, ((0, 0), (1, 1)), constant_values=1)
        macs, params = (widths[:, 1:] * widths[:, :-1]).sum(axis=1), widths.sum(axis=1)
        return dict.fromkeys(EXACT, macs) | {"params": params, "size": 8 + 4 * params}


def chain(kept: Kept, budget: str | dict[str, int]) -> Projection:
    spaces = {unit: UnitSpace(unit, at[0], ("channel.l1",), at) for unit, at in kept.items()}
    return Projection(cast(CostModel, Chain(kept)), spaces, Budget.parse(budget))


@st.composite
def chains(draw: st.DrawFn, tight: str | None = None) -> Projection:
    """Draw a chain of up to four units, and limits between its smallest and its dense costs.

    Args:
        draw: Hypothesis's.
        tight: The only limit; None for MACs or parameters, and the others perhaps.
    """
    kept = {}
    for number in range(draw(st.integers(1, 4))):
        counts = draw(st.sets(st.integers(1, 30), min_size=2, max_size=6))
        kept[f"u{number}"] = tuple(sorted(counts, reverse=True))
    cost = Chain(kept)
    dense, least = cost.dense, cost.price({unit: at[-1] for unit, at in kept.items()})
    most, fewest = dense.as_dict(), least.as_dict()
    first = tight or draw(st.sampled_from(["macs", "params"]))
    limits = {first: draw(st.integers(int(fewest[first]), int(most[first]) - 1))}
    for other in {"macs", "params", "size"} - {first}:
        if tight is None and draw(st.booleans()):
            limits[other] = draw(st.integers(int(fewest[other]), int(most[other])))
    return chain(kept, limits)


FIVE: Kept = {f"u{n}": (16, 12, 8, 4) for n in range(5)}


def every_row(projection: Projection) -> Rows:
    """Return all levels that are feasible."""
    own = [range(space.levels) for space in projection.spaces.values()]
    rows = np.array(list(product(*own)), np.int64)
    return rows[projection.meets(rows)]


def totals(errors: list[Floats], rows: Rows) -> Floats:
    return np.asarray(np.sum([own[rows[:, unit]] for unit, own in enumerate(errors)], axis=0))


def rising(projection: Projection, seed: int) -> list[Floats]:
    """Return errors that rise with the level, as the sensitivity table has them."""
    rng = np.random.default_rng(seed)
    sizes = [space.levels - 1 for space in projection.spaces.values()]
    return [np.cumsum([0.0, *rng.exponential(1, size)]) for size in sizes]


def least(errors: list[Floats], projection: Projection) -> float:
    return float(totals(errors, every_row(projection)).min())


@pytest.mark.parametrize("budget", ["params=60%", "params=40%", "macs=50%", "macs=25%"])
def test_sums_of_errors_are_near_the_least_of_all(budget: str) -> None:
    gaps = []
    for seed in range(12):
        projection = chain(FIVE, budget)
        errors = rising(projection, seed)
        row = Allocator(projection).spdy(errors)
        assert projection.meets(row[None]).all()
        gaps.append(totals(errors, row[None])[0] / least(errors, projection) - 1)
    assert np.median(gaps) < 0.02
    assert max(gaps) < (1e-9 if "params" in budget else 0.35), "parameters add up: no excuse"


@given(chains("params"), st.integers(0, 2**32 - 1))
def test_where_costs_add_up_the_optimum_is_found(projection: Projection, seed: int) -> None:
    errors = rising(projection, seed)
    row = Allocator(projection).spdy(errors)
    assert projection.meets(row[None]).all()
    assert totals(errors, row[None])[0] == pytest.approx(least(errors, projection), rel=0.02)


@given(chains(), st.integers(0, 2**32 - 1))
def test_whatever_is_limited_allocations_are_feasible_and_leave_no_slack(
    projection: Projection, seed: int
) -> None:
    errors, allocator = rising(projection, seed), Allocator(projection)
    uniform = allocator.uniform()
    found = [allocator.spdy(errors), allocator.minimax(errors), uniform]
    assert projection.meets(np.stack(found)).all()
    assert totals(errors, found[0][None])[0] >= least(errors, projection) - 1e-9
    for row in found[1:]:
        lighter = row - np.eye(len(row), dtype=np.int64)[row > 0]
        idle = projection.free[row > 0]
        assert not projection.meets(lighter[~idle]).any()


@given(chains(), st.integers(0, 2**32 - 1))
def test_no_feasible_levels_have_a_smaller_largest_error(
    projection: Projection, seed: int
) -> None:
    errors = rising(projection, seed)
    rows = every_row(projection)
    worst = np.max([own[rows[:, unit]] for unit, own in enumerate(errors)], axis=0)
    row = Allocator(projection).minimax(errors)
    assert max(own[at] for own, at in zip(errors, row, strict=True)) == worst.min()


def test_minimax_by_hand() -> None:
    errors = [np.array([0.0, 1.0, 2.0, 9.0]), np.array([0.0, 3.0, 4.0, 5.0])]
    projection = chain({"a": (16, 12, 8, 4), "b": (16, 12, 8, 4)}, "params=26")  # 24 of atoms
    assert Allocator(projection).minimax(errors).tolist() == [2, 0]
    assert Allocator(chain({"a": (16, 12, 8, 4), "b": (16, 12, 8, 4)}, "params=18")).minimax(
        errors
    ).tolist() == [2, 2]


def test_uniform_takes_the_same_of_units_that_are_alike() -> None:
    row = Allocator(chain(FIVE, "params=42")).uniform()  # 40 of 80 atoms and both ends
    assert row.tolist() == [2] * 5


def test_a_unit_whose_errors_count_more_is_cut_less() -> None:
    allocator = Allocator(chain(FIVE, "macs=50%"))
    errors = [np.array([0.0, 1.0, 2.0, 3.0])] * 5
    spared = [100 * own if unit == 1 else own for unit, own in enumerate(errors)]
    assert allocator.spdy(errors)[1] > 0
    assert allocator.spdy(spared)[1] == 0


def cut_off(projection: Projection, seed: int) -> list[Floats]:
    """Return errors that rise, and are infinite from some level of each unit on."""
    rng = np.random.default_rng(seed)
    errors = rising(projection, seed)
    for own in errors:
        own[int(rng.integers(1, len(own) + 1)) :] = np.inf
    return errors


@pytest.mark.filterwarnings("error")
@given(chains(), st.integers(0, 2**32 - 1))
def test_levels_of_infinite_error_are_not_used_where_others_are_left(
    projection: Projection, seed: int
) -> None:
    errors = cut_off(projection, seed)
    allocator = Allocator(projection)
    row, fair = allocator.spdy(errors), allocator.minimax(errors)
    assert projection.meets(np.stack([row, fair])).all()
    worst = np.isfinite(totals(errors, np.stack([row, fair])))
    assert worst[1] == np.isfinite(least(errors, projection))
    assert worst[1] or not worst[0]


@given(chains("params"), st.integers(0, 2**32 - 1))
def test_where_costs_add_up_no_infinite_error_is_taken_needlessly(
    projection: Projection, seed: int
) -> None:
    errors = cut_off(projection, seed)
    row = Allocator(projection).spdy(errors)
    assert totals(errors, row[None])[0] == pytest.approx(least(errors, projection), rel=0.02)


IDLE: Kept = {"a": (8, 4), "b": (12, 8, 4), "idle": (8, 6, 4)}


@pytest.mark.parametrize("budget", ["params=60%", "macs=50%", "params=70%,macs=60%"])
def test_units_that_save_nothing_are_left_as_they_are(budget: str) -> None:
    projection = chain(IDLE, budget)
    errors = [np.array([0.0, 1.0]), np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.1, 0.2])]
    allocator = Allocator(projection)
    for row in (allocator.spdy(errors), allocator.minimax(errors)):
        assert projection.meets(row[None]).all()
        assert row[2] == 0


def test_of_several_limits_each_is_met_and_the_one_that_binds_decides() -> None:
    both = chain(FIVE, "macs=50%,params=90%")
    errors = rising(both, 3)
    assert np.array_equal(
        Allocator(both).spdy(errors), Allocator(chain(FIVE, "macs=50%")).spdy(errors)
    )
    tight = chain(FIVE, "macs=90%,params=40%")
    row = Allocator(tight).spdy(errors)
    assert totals(errors, row[None])[0] == pytest.approx(least(errors, tight), rel=0.02)


def test_switches_never_give_up_more_and_stay_inside() -> None:
    projection = chain(FIVE, "macs=50%")
    errors, allocator = rising(projection, 7), Allocator(projection)
    for row in every_row(projection)[::97]:
        found = allocator.switched(errors, row)
        assert projection.meets(found[None]).all()
        assert totals(errors, found[None])[0] <= totals(errors, row[None])[0]


def test_of_small_chains_nearly_all_are_allocated_best() -> None:
    gaps = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(2, 6, size=rng.integers(2, 5))
        counts = [rng.choice(np.arange(1, 21), size, replace=False) for size in sizes]
        kept = {f"u{n}": tuple(sorted(map(int, c), reverse=True)) for n, c in enumerate(counts)}
        budgets = [
            "params=60%",
            "params=40%",
            "macs=50%",
            "macs=25%",
            "macs=50%,params=60%",
            "size=70%",
        ]
        try:
            found = chain(kept, budgets[seed % 6])
        except BudgetError:
            continue  # the smallest of these few levels is too large
        errors = [np.cumsum([0, *rng.exponential(1, size - 1)]) for size in sizes]
        rows = np.array(list(product(*map(range, sizes))))
        sums = sum(own[rows[:, at]] for at, own in enumerate(errors))[found.meets(rows)]
        levels = Allocator(found).spdy(errors)
        total = sum(float(own[at]) for own, at in zip(errors, levels, strict=True))
        worst = sum(float(own[-1]) for own in errors)
        assert total >= sums.min() - 1e-9
        gaps.append((total - sums.min()) / max(worst - sums.min(), 1e-9))
    assert len(gaps) > 200
    assert np.mean(np.array(gaps) < 1e-9) >= 0.97
    assert np.mean(gaps) < 0.004


def test_marginal_savings_by_hand() -> None:
    """Widths 1, 4, 2, 1 of both limits: 2 x 4 + 4 + 2 is 14 MACs, 12 is the limit."""
    projection = chain({"a": (4, 2), "b": (2, 1)}, "macs=12,params=100")
    marginal = Marginal.of(projection, np.array([0, 0]))
    assert marginal.saved[0] == pytest.approx([0, 6 / 12])  # 2 + 4 + 2 is left
    assert marginal.saved[1] == pytest.approx([0, 5 / 12])  # 4 + 4 + 1 is left
    assert marginal.needed == pytest.approx(2 / 12)
    cheap = [np.array([0.0, 3.0]), np.array([0.0, 1.0])]
    assert marginal.best(cheap).tolist() == [0, 1]


def test_several_errors_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    projection = chain({f"u{n}": tuple(range(40, 0, -4)) for n in range(7)}, "macs=50%,params=60%")
    marginal = Marginal.of(projection, projection.project_row(np.full(7, 4)))
    errors = [np.cumsum(rng.random((5, 10)), axis=1) - 0.2 for _ in range(7)]
    found = marginal.best_of_each(errors)
    assert len(np.unique(found, axis=0)) > 1
    alone = [marginal.best([own[draw] for own in errors]) for draw in range(5)]
    assert np.array_equal(found, alone)
