"""Tables of small networks: what is listed, what is stored, and what a search is told of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprune.agent.feasible.projection import Projection
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError
from autoprune.space.schema import UnitSpace
from benchmarks.tables.figures import figures, gaps
from benchmarks.tables.make import make
from benchmarks.tables.objective import TableObjective
from benchmarks.tables.policies import maximal, policy_of
from benchmarks.tables.recipes import RECIPES
from benchmarks.tables.state import State
from benchmarks.tables.table import FOLDER, Table

MEGABYTE = 10**6


@pytest.fixture(scope="module", params=list(RECIPES))
def objective(request: pytest.FixtureRequest) -> TableObjective:
    return TableObjective.load(request.param)


def wishes(objective: TableObjective, count: int) -> list[dict[str, int]]:
    rng = np.random.default_rng(0)
    spaces = objective.spaces.items()
    return [{u: int(rng.integers(s.levels)) for u, s in spaces} for _ in range(count)]


def test_maximal_policies_are_those_of_brute_force(
    cost: CostModel, spaces: dict[str, UnitSpace]
) -> None:
    projection = Projection(cost, spaces, Budget.parse("macs=50%"))
    levels, codes = maximal(projection)
    expected = set()
    for found in np.ndindex(*(space.levels for space in spaces.values())):
        lower = [(*found[:i], at - 1, *found[i + 1 :]) for i, at in enumerate(found) if at]
        rows = [dict(zip(spaces, row, strict=True)) for row in (found, *lower)]
        if [projection.feasible(row) for row in rows] == [True] + [False] * len(lower):
            expected.add(found)
    assert expected
    assert {tuple(int(at) for at in row) for row in levels} == expected
    policies = {policy_of(spaces, *row) for row in zip(levels, codes, strict=True)}
    assert len(policies) == len(levels) == sum(2 ** np.count_nonzero(row) for row in expected)


def test_a_state_survives_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "net.jsonl"
    State(path, "one").put("a", loss=0.5)
    with path.open("a") as file:
        file.write('["b", {"lo')
    again = State(path, "one")
    assert (again.get("a"), again.get("b")) == ({"loss": 0.5}, None)
    again.put("b", loss=1.0)
    assert State(path, "one").total("loss") == 1.5
    assert State(path, "two").get("a") is None


@pytest.mark.slow
def test_a_table_that_was_cut_goes_on_and_comes_out_alike(tmp_path: Path) -> None:
    recipe = replace(RECIPES["digits_chain"], epochs=1)

    def watch(items: Any, what: str) -> Any:
        yield from items

    def dies(items: Any, what: str) -> Any:
        yield from items[:2]
        raise KeyboardInterrupt

    (tmp_path / "cut").mkdir()
    with pytest.raises(KeyboardInterrupt):
        make(recipe, tmp_path / "cut", dies, most=4)
    cut, whole = (make(recipe, tmp_path / name, watch, most=4) for name in ("cut", "."))
    for name in ("levels", "codes", "loss", "quality", "single_loss"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))
    whole.save(tmp_path / "net.npz")
    read = Table.load("net", tmp_path)
    np.testing.assert_array_equal(read.quality, whole.quality)
    assert read.facts == whole.facts
    assert read.weights.keys() == whole.weights.keys()


def test_tables_are_whole_and_small(objective: TableObjective) -> None:
    name, table = objective.network.recipe.name, objective.table
    assert (FOLDER / f"{name}.npz").stat().st_size < 5 * MEGABYTE
    assert len(table.levels) > 1000
    assert np.isfinite(table.loss[:, 0]).all()
    assert ((table.quality[:, 0] > 0) & (table.quality[:, 0] <= 1)).all()
    levels, codes = maximal(objective.projection)
    np.testing.assert_array_equal(table.levels, levels)
    np.testing.assert_array_equal(table.codes, codes)


def test_what_the_projection_gives_is_in_the_table(objective: TableObjective) -> None:
    for wanted in wishes(objective, 50):
        levels = objective.projection.project(wanted)
        policy = objective.policy(levels, {})
        at = objective.row(policy)
        assert objective.levels(policy) == levels
        costs = objective.projection.price(levels)
        dense = objective.projection.cost.dense
        assert objective.table.share[at] == pytest.approx(costs.macs / dense.macs)


def test_what_is_outside_the_budget_is_not_in_the_table(objective: TableObjective) -> None:
    outside = [one for one in wishes(objective, 100) if not objective.projection.feasible(one)]
    assert outside
    for levels in outside:
        with pytest.raises(ConfigError, match="does not have the policy"):
            objective.score(objective.policy(levels, {}))


def test_nothing_that_all_seeds_scored_beats_the_optimum(objective: TableObjective) -> None:
    known = np.flatnonzero(~np.isnan(objective.table.quality).any(axis=1))
    assert len(known) >= 100
    best = objective.row(objective.optimum())
    assert objective.truth[best] == objective.truth[known].max()
    assert objective.gap_points(objective.optimum()) == 0


def test_tables_tell_plain_searches_from_the_optimum(objective: TableObjective) -> None:
    found = figures(objective) | gaps(objective)
    assert found["random_gap_points_by_quality_seen"][1] > 0.2
    assert found["floor_gap_points_by_quality_seen"] == 0
    assert max(found["uniform_gap_points"]) > 0.5
    assert found["noise_points"] < found["spread_points"] / 3
    assert found["policies_close"] < found["policies"] / 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_chain", "digits_residual"])
def test_rows_scored_again_are_what_is_stored(name: str) -> None:
    """To the bit on the machine that made them; elsewhere rounding grows with training."""
    objective = TableObjective.load(name)
    network = objective.network
    network.model.load_state_dict(dict(objective.table.weights))
    scorer = network.scorer(network.recipe.data())
    steps = network.recipe.recovery.steps_of_scores
    rows = [0, len(objective.table.levels) // 2, objective.row(objective.optimum())]
    stored = objective.table.loss[rows, 0]
    assert min(abs(np.subtract.outer(stored, stored)[np.triu_indices(3, 1)])) > 0.05
    for at in rows:
        policy = policy_of(objective.spaces, objective.table.levels[at], objective.table.codes[at])
        _, score = scorer.score(policy, steps)
        assert score.loss == pytest.approx(objective.table.loss[at, 0], rel=0.02)
        assert score.quality == pytest.approx(objective.table.quality[at, 0], abs=0.01)
        assert score.sample_forwards == pytest.approx(objective.table.forwards[at])
