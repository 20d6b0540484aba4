"""What is probed of a unit, and the monotone fit of what was found."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.probing import Levels
from autoprune.evaluation.probing.monotone import failed_error, fit
from autoprune.evaluation.probing.points import Point, due, expected
from autoprune.evaluation.probing.sensitivity import Entry, Sensitivity
from autoprune.space.schema import UnitSpace

L1, L2, N_M = "channel.l1", "channel.l2", "2:4.l1"
WIDE = UnitSpace("u", 16, (L1, L2), tuple(range(16, 6, -1)))  # levels 0 to 9
BLOCK = UnitSpace("b", 1, ("block.drop",), (1, 0))
MIXED = UnitSpace("w", 8, ("unstructured.l1", N_M), (8, 6, 4, 2))


def asked(space: UnitSpace, levels: Levels, losses: dict[str, float]) -> list[list[Point]]:
    known = dict[Point, float]()
    rounds = []
    while points := due(space, levels, known):
        rounds.append(points)
        known |= {point: losses[point[0]] * point[1] for point in points}
    assert len(known) == expected(space, levels)
    return rounds


def test_quick_tries_all_methods_in_the_middle_and_the_best_at_others() -> None:
    rounds = asked(WIDE, "quick", {L1: 2.0, L2: 1.0})
    assert rounds == [[(L1, 5), (L2, 5)], [(L2, 2), (L2, 4), (L2, 7), (L2, 9)]]


def test_a_method_that_failed_in_the_middle_is_not_the_best() -> None:
    assert asked(WIDE, "quick", {L1: 1.0, L2: float("inf")})[1][-1] == (L1, 9)


def test_full_probes_everything_once() -> None:
    (only,) = asked(WIDE, "full", {L1: 1.0, L2: 1.0})
    assert only == [(method, at) for method in (L1, L2) for at in range(1, 10)]


@pytest.mark.parametrize("levels", ["quick", "full"])
def test_a_block_has_one_probe(levels: Levels) -> None:
    assert asked(BLOCK, levels, {"block.drop": 1.0}) == [[("block.drop", 1)]]


def test_a_pattern_has_one_sparsity_and_one_probe() -> None:
    (first, second) = asked(MIXED, "quick", {"unstructured.l1": 1.0, N_M: 0.1})
    assert first == [(N_M, 1), ("unstructured.l1", 2)]
    assert second == [("unstructured.l1", 1), ("unstructured.l1", 3)]
    errors, noise = fit(
        MIXED,
        {
            **{(N_M, 1): (0.1, 0.01), ("unstructured.l1", 1): (1.0, 0.1)},
            **{("unstructured.l1", 2): (2.0, 0.1), ("unstructured.l1", 3): (3.0, 0.1)},
        },
        9.0,
    )
    assert errors[N_M].tolist() == [0.0, 0.1, 0.1, 0.1]
    assert noise[N_M].tolist() == [0.0, 0.01, 0.01, 0.01]
    assert errors["unstructured.l1"].tolist() == pytest.approx([0.0, 1.0, 2.0, 3.0])


def test_what_falls_is_pooled_by_its_noise_and_the_rest_interpolated() -> None:
    # 3 with weight 1 / 0.1^2 and 1 with weight 1 / 0.2^2 pool to (4 x 3 + 1) / 5 = 2.6
    known = {(L1, 2): (3.0, 0.1), (L1, 4): (1.0, 0.2), (L1, 8): (4.6, 0.1)}
    errors, noise = fit(WIDE, known, 9.0)
    expected_errors = [0.0, 1.3, 2.6, 2.6, 2.6, 3.1, 3.6, 4.1, 4.6, 4.6]
    assert errors[L1].tolist() == pytest.approx(expected_errors)
    assert noise[L1][[0, 2, 3, 4]].tolist() == pytest.approx([0.0, 0.1, 0.15, 0.2])


def test_a_method_probed_in_the_middle_alone_differs_by_the_atoms_removed() -> None:
    known = {(L2, 2): (0.2, 0.0), (L2, 5): (0.5, 0.3), (L2, 9): (2.0, 0.0), (L1, 5): (0.8, 0.4)}
    errors, noise = fit(WIDE, known, 9.0)
    assert errors[L1][[0, 2, 5]].tolist() == pytest.approx([0.0, 0.2 + 0.3 * 2 / 5, 0.8])
    assert errors[L1][9] == pytest.approx(2.0 + 0.3 * 9 / 5)
    assert noise[L1][5] == pytest.approx(0.5)


def test_gains_count_as_nothing_given_up() -> None:
    errors, _ = fit(BLOCK, {("block.drop", 1): (-0.5, 0.1)}, 9.0)
    assert errors["block.drop"].tolist() == [0.0, 0.0]


def test_a_failed_probe_counts_twice_the_worst_that_was_measured() -> None:
    assert failed_error([]) == 1.0
    assert failed_error([0.1]) == 1.0
    assert failed_error([0.1, 3.0]) == 6.0
    errors, _ = fit(WIDE, {(L1, 5): (1.0, 0.1), (L1, 9): (None, 0.0)}, 6.0)
    assert errors[L1][[5, 9]].tolist() == [1.0, 6.0]


LOSS = st.none() | st.floats(-10, 10)
NOISE = st.floats(0, 5)


@given(
    st.dictionaries(st.integers(1, 9), st.tuples(LOSS, NOISE), min_size=1),
    st.tuples(LOSS, NOISE),
    st.floats(1, 20),
)
def test_errors_are_finite_and_never_fall(
    own: dict[int, tuple[float | None, float]], other: tuple[float | None, float], failed: float
) -> None:
    known = {(L1, level): value for level, value in own.items()} | {(L2, 5): other}
    errors, noise = fit(WIDE, known, failed)
    for method in (L1, L2):
        assert errors[method].shape == noise[method].shape == (WIDE.levels,)
        assert errors[method][0] == noise[method][0] == 0.0
        assert np.isfinite(errors[method]).all()
        assert (np.diff(errors[method]) >= -1e-12).all()
        assert (noise[method] >= 0).all()


def test_a_table_knows_its_best_methods_and_becomes_json() -> None:
    entry = Entry(
        unit="u",
        kind="channel",
        atoms=2,
        method=L1,
        level=1,
        sparsity=0.5,
        loss=1.0,
        quality=0.5,
        given_up=0.25,
        stderr=0.1,
    )
    errors = {"u": {L1: np.array([0.0, 0.25]), L2: np.array([0.0, 0.5])}}
    table = Sensitivity(0.75, errors, errors, entries=[entry], sparsities={"u": [0.0, 0.5]})
    assert table.best_method("u") == L1
    found = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert found["errors"] == {"u": {L1: [0.0, 0.25], L2: [0.0, 0.5]}}
    assert found["entries"][0]["given_up"] == 0.25
