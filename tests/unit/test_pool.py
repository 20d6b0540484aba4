"""Candidates: all inside the budget, whatever they are made of."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from autoprune.agent.feasible.allocation import Allocator
from autoprune.agent.feasible.encoding import Encoding, Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.pool import Pool, padded, plain_errors
from autoprune.core.arrays import Floats
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.space.schema import UnitSpace
from autoprune.surgery.discover import discover

METHODS = ("channel.l1", "channel.l2")
LAYERS = 5
BUDGETS = ["macs=50%", "params=30%", "macs=60%,params=50%", "size=40%,memory=90%"]


@dataclass
class Tower:
    """Five layers in a row; the third may have its weights set to zero, which saves nothing."""

    cost: CostModel
    spaces: dict[str, UnitSpace]

    def pool(self, budget: str, errors: Floats | None = None) -> Pool:
        projection = Projection(self.cost, self.spaces, Budget.parse(budget))
        return Pool.of(projection, Encoding(self.spaces), errors)


@pytest.fixture(scope="module")
def tower() -> Tower:
    widths = [1, 8, 12, 8, 12, 8]
    layers = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)]
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    net = nn.Sequential(*[m for layer in layers for m in (layer, nn.ReLU())], *ends).eval()
    plan = discover(net, [torch.randn(2, 1, 6, 6)], np.random.default_rng(0))
    spaces = {}
    for number, (name, unit) in enumerate(plan.units.items()):
        kept = tuple(range(unit.atoms, 0, -1 - number % 2))
        spaces[name] = UnitSpace(name, unit.atoms, METHODS[: 1 + number % 2], kept)
    idle = next(iter(plan.weights))
    atoms = plan.weights[idle].atoms
    half = (atoms, atoms // 2, atoms // 4)
    spaces[idle] = UnitSpace(idle, atoms, ("unstructured.l1",), half)
    return Tower(CostModel(net, plan), spaces)


def measured(tower: Tower, seed: int = 0) -> Floats:
    """Return errors that rise with the level, and differ by method."""
    rng = np.random.default_rng(seed)
    return padded(
        Encoding(tower.spaces),
        {
            unit: {m: np.cumsum([0, *rng.exponential(1, s.levels - 1)]) for m in s.methods}
            for unit, s in tower.spaces.items()
        },
    )


def check(pool: Pool, rows: Rows) -> None:
    """Check that rows are feasible and canonical, one for one with policies."""
    levels, methods = pool.encoding.split(rows)
    assert pool.projection.meets(levels).all()
    assert ((levels >= 0) & (levels < pool.encoding.levels)).all()
    assert ((methods >= 0) & (methods < pool.encoding.methods)).all()
    for row in rows:
        assert np.array_equal(pool.encoding.row(pool.encoding.params(row)), row)
        assert pool.projection.aims_at(pool.encoding.policy(row))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("known", [False, True])
def test_everything_is_feasible(tower: Tower, budget: str, known: bool) -> None:
    pool = tower.pool(budget, measured(tower) if known else None)
    rng = np.random.default_rng(0)
    units = pool.encoding.units
    best = pool.random(rng, 5)
    found = {
        "random": best,
        "allocated": pool.allocated(best[0], rng.lognormal(size=(6, units))),
        "switched": pool.switched(best, rng, 64),
        "crossed": pool.crossed(best, rng, 32),
    }
    for rows in found.values():
        check(pool, rows)
    assert len(best) == 5
    assert len(found["allocated"]) == 6
    assert len(found["crossed"]) == 32
    assert 0 < len(found["switched"]) <= 64


def test_what_is_drawn_depends_on_the_generator_alone(tower: Tower) -> None:
    pool, drawn = tower.pool("macs=50%"), []
    for seed in (0, 0, 1):
        rng = np.random.default_rng(seed)
        best = pool.random(rng, 3)
        drawn.append((best, pool.switched(best, rng, 32), pool.crossed(best, rng, 8)))
    assert all(map(np.array_equal, drawn[0], drawn[1]))
    assert not any(map(np.array_equal, drawn[0], drawn[2]))


def test_what_is_switched_is_near_an_incumbent_and_leaves_it_alone(tower: Tower) -> None:
    pool, rng = tower.pool("macs=50%"), np.random.default_rng(0)
    best = pool.random(rng, 2)
    before = best.copy()
    rows = pool.switched(best, rng, 200)
    assert np.array_equal(best, before)
    levels, methods = pool.encoding.split(rows)
    start, own = pool.encoding.split(best)
    moved = np.abs(levels[:, None] - start)  # rows x incumbents x units
    nearest = moved.sum(axis=2).argmin(axis=1)
    assert (moved[np.arange(len(rows)), nearest].max(axis=1) <= 3).all()
    assert (moved.sum(axis=(1, 2)) > 0).any()
    assert (methods != own[nearest])[levels > 0].any(), "methods are changed as well"


def test_the_nearest_of_a_wish_too_large_is_smaller_and_of_a_feasible_one_no_smaller(
    tower: Tower,
) -> None:
    pool = tower.pool("macs=50%")
    wanted, _ = pool.encoding.split(pool.encoding.random(np.random.default_rng(0), 60))
    fits, found = pool.projection.meets(wanted), pool.nearest(wanted)
    assert 5 < fits.sum() < 55
    assert (found[fits] <= wanted[fits]).all()
    assert (found[~fits] >= wanted[~fits]).all()


def test_the_smallest_model_is_there_where_nothing_else_fits(tower: Tower) -> None:
    tight = tower.pool("macs=50%").projection
    smallest = np.array([space.levels - 1 for space in tower.spaces.values()])
    least = int(tight.price(tight.levels(smallest)).macs)
    pool = tower.pool(f"macs={least}")
    assert np.array_equal(pool.nearest(0 * smallest[None])[0, :LAYERS], smallest[:LAYERS])


def test_many_wishes_are_answered_as_each_by_itself(tower: Tower) -> None:
    pool = tower.pool("macs=50%,params=60%")
    wanted, _ = pool.encoding.split(pool.encoding.random(np.random.default_rng(1), 30))
    together = pool.nearest(wanted)
    assert np.array_equal(together, np.concatenate([pool.nearest(one[None]) for one in wanted]))


def test_units_that_save_nothing_stay_at_what_was_wanted(tower: Tower) -> None:
    pool = tower.pool("macs=50%")
    free = pool.projection.free
    assert free.tolist() == [False] * LAYERS + [True]
    wanted, _ = pool.encoding.split(pool.encoding.random(np.random.default_rng(2), 40))
    assert np.array_equal(pool.nearest(wanted)[:, free], wanted[:, free])
    rows = pool.allocated(pool.random(np.random.default_rng(0), 1)[0], np.ones((1, LAYERS + 1)))
    assert pool.encoding.split(rows)[0][:, free].tolist() == [[0]]


def test_crossings_take_each_unit_from_one_of_two(tower: Tower) -> None:
    """Under a loose budget for what is not limited: the unit that saves nothing, and methods."""
    pool, rng = tower.pool("macs=50%"), np.random.default_rng(0)
    pair = pool.random(rng, 2)
    pair[:, LAYERS] = (1, 2)
    levels, methods = pool.encoding.split(pool.crossed(pair, rng, 60))
    assert set(levels[:, LAYERS]) == {1, 2}
    _, own = pool.encoding.split(pair)
    assert ((methods == own[0]) | (methods == own[1]) | (levels == 0)).all()
    alone = pool.encoding.split(pool.crossed(pair[:1], rng, 4))[0]
    assert np.array_equal(alone, pool.nearest(pool.encoding.split(pair[[0] * 4])[0]))


def test_allocations_spare_what_counts_more_and_take_the_better_method(tower: Tower) -> None:
    errors = measured(tower)
    pool = tower.pool("macs=50%", errors)
    around = pool.random(np.random.default_rng(0), 1)[0]
    for unit in range(LAYERS):
        weights = np.ones((2, LAYERS + 1))
        weights[1, unit] = 1e3
        rows = pool.allocated(around, weights)
        plain, spared = pool.encoding.split(rows)[0][:, unit]
        assert spared <= plain
    levels, methods = pool.encoding.split(rows)
    for level, method, own in zip(levels.T, methods.T, errors, strict=True):
        best = own[:, level].argmin(axis=0)
        assert np.array_equal(method, np.where(level > 0, best, 0))
    assert pool.given_up(rows) == pytest.approx(
        np.stack([least[level] for least, level in zip(pool.least, levels.T, strict=True)], 1)
    )


def test_an_allocation_gives_up_about_as_little_as_dynamic_programming_finds(
    tower: Tower,
) -> None:
    pool = tower.pool("params=40%", measured(tower, 3))
    levels = Allocator(pool.projection).spdy(pool.least)
    around = pool.encoding.join(levels, pool.best_methods(levels))
    (row,) = pool.allocated(around, np.ones((1, LAYERS + 1)))
    least = pool.given_up(around[None]).sum()
    drawn = pool.given_up(pool.random(np.random.default_rng(0), 200)).sum(axis=1)
    assert pool.given_up(row[None]).sum() <= 1.5 * least
    assert pool.given_up(row[None]).sum() < drawn.min()


def test_without_a_table_the_square_of_what_is_removed_is_given_up(tower: Tower) -> None:
    encoding = Encoding(tower.spaces)
    errors = plain_errors(encoding)
    rows = tower.pool("macs=50%").random(np.random.default_rng(0), 9)
    levels, methods = encoding.split(rows)
    found = errors[np.arange(encoding.units), methods, levels]
    assert found == pytest.approx(encoding.removed(rows) ** 2)
    for own, space in zip(errors, tower.spaces.values(), strict=True):
        assert np.isfinite(own).sum() == len(space.methods) * space.levels
