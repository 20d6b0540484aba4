"""Rows stand for policies, one for one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial

from autoprune.agent.feasible.encoding import Encoding, Rows, distributions, levels_of, policy_of
from autoprune.space.schema import UnitSpace

METHODS = ("channel.fpgm", "channel.l1", "channel.l2", "2:4.l1", "1:4.l1")
THREE = Encoding(
    {
        "a": UnitSpace("a", 8, ("channel.l2", "channel.l1"), (8, 6, 2)),
        "b": UnitSpace("b", 4, ("channel.l1",), (4, 3)),
        "c": UnitSpace("c", 1, ("block.drop",), (1, 0)),
    }
)


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """Draw up to four units with up to four levels and three methods."""
    spaces = {}
    for number in range(draw(st.integers(1, 4))):
        kept = tuple(sorted(draw(st.sets(st.integers(1, 20), min_size=2, max_size=4)))[::-1])
        methods = tuple(draw(st.lists(st.sampled_from(METHODS), min_size=1, unique=True)))
        spaces[f"u{number}"] = UnitSpace(f"u{number}", kept[0], methods, kept)
    return Encoding(spaces)


def row_of(encoding: Encoding, seed: int) -> Rows:
    wish = encoding.random(np.random.default_rng(seed), 1)[0]
    return encoding.join(*encoding.split(wish))


SEEDS = st.integers(0, 2**32 - 1)


@given(encodings(), SEEDS)
def test_parameters_of_a_row_give_the_row_back(encoding: Encoding, seed: int) -> None:
    row = row_of(encoding, seed)
    params = encoding.params(row)
    assert np.array_equal(encoding.row(params), row)
    assert np.array_equal(encoding.wish(params), row)
    assert encoding.policy(row) == policy_of(params, encoding.spaces)
    levels, _ = encoding.split(row)
    assert levels_of(params, encoding.spaces) == dict(zip(encoding.spaces, levels, strict=True))


@given(encodings(), SEEDS)
def test_optuna_takes_the_parameters_of_a_row(encoding: Encoding, seed: int) -> None:
    space, params = distributions(encoding.spaces), encoding.params(row_of(encoding, seed))
    assert params.keys() == space.keys()
    trial = create_trial(params=params, distributions=space, value=0.0)  # raises if outside
    assert trial.params == params


@given(encodings(), SEEDS, SEEDS)
def test_rows_are_equal_where_policies_are(encoding: Encoding, seed: int, other: int) -> None:
    rows = [row_of(encoding, at) for at in (seed, other)]
    first, second = map(encoding.policy, rows)
    assert np.array_equal(rows[0], rows[1]) == (first == second)
    assert (rows[0].tobytes() == rows[1].tobytes()) == (first.fingerprint == second.fingerprint)


def test_all_rows_of_a_space_are_all_its_policies() -> None:
    wishes = np.array(list(product(range(3), range(2), range(2), range(2), [0], [0])))
    rows = THREE.join(*THREE.split(wishes))
    policies = {THREE.policy(row).fingerprint for row in rows}
    assert len(policies) == len({row.tobytes() for row in rows}) == 5 * 2 * 2


def test_the_method_of_an_untouched_unit_is_wished_for_but_not_part_of_a_row() -> None:
    params = {"level:a": 0, "level:b": 1, "level:c": 0, "method:a": "channel.l1"}
    assert THREE.wish(params).tolist() == [0, 1, 0, 1, 0, 0]
    assert THREE.row(params).tolist() == [0, 1, 0, 0, 0, 0]
    assert THREE.row({name: at for name, at in params.items() if name[0] == "l"}).tolist() == (
        [0, 1, 0, 0, 0, 0]
    )


def test_a_pattern_has_one_level_and_costs_no_more_than_any_other_one() -> None:
    mixed = UnitSpace("a", 8, ("unstructured.l1", "2:4.l1", "1:4.l1"), (8, 6, 4, 3, 1))
    assert [mixed.one_of("unstructured.l1", at) for at in range(5)] == [0, 1, 2, 3, 4]
    assert [mixed.one_of("2:4.l1", at) for at in range(5)] == [0, 2, 2, 2, 2]
    assert [mixed.one_of("1:4.l1", at) for at in range(5)] == [0, 4, 4, 4, 4]
    shallow = UnitSpace("a", 8, ("unstructured.l1", "2:4.l1"), (8, 7, 6))
    assert [shallow.one_of("2:4.l1", at) for at in range(3)] == [0, 2, 2], "the last one"


def test_shares_removed_by_hand() -> None:
    rows = np.array([[2, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]])
    removed = THREE.removed(rows)
    assert removed == pytest.approx(np.array([[0.75, 0.25, 1.0], [0.25, 0, 0]]))
    # methods by name: block.drop, channel.l1, channel.l2
    expected = np.array([[1 / 3, 1 / 3, 0], [0, 0, 0.25 / 3]])
    assert THREE.by_method(rows) == pytest.approx(expected)


@given(encodings(), SEEDS)
def test_what_methods_removed_adds_up_to_what_was_removed(encoding: Encoding, seed: int) -> None:
    rows = np.stack([row_of(encoding, seed), row_of(encoding, seed + 1)])
    removed = encoding.removed(rows)
    assert ((removed >= 0) & (removed < 1)).all()
    assert encoding.by_method(rows).sum(axis=-1) == pytest.approx(removed.mean(axis=-1))


def test_draws_reach_every_level_and_method_and_nothing_else() -> None:
    levels, methods = THREE.split(THREE.random(np.random.default_rng(0), 300))
    for drawn, most in ((levels, THREE.levels), (methods, THREE.methods)):
        assert drawn.min(axis=0).tolist() == [0, 0, 0]
        assert drawn.max(axis=0).tolist() == (most - 1).tolist()
