"""Decisions of the best policy: what might be done in their place, and what is left alone."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.loop.trials import ask
from autoprune.agent.samplers.attributes import EXAMINES, REGRET
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.decisions import TRIES, Decisions, pairs
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.known import Examined
from autoprune.testing.chains import chain

WIDTHS = {name: [16, 12, 8, 4] for name in "abcde"}
METHODS = ("channel.l1", "channel.l2")
PROJECTION = chain(WIDTHS, "macs=50%", METHODS)
UNITS = len(WIDTHS)
Score = Callable[[Rows], float]


def most(row: Rows) -> float:
    """Return what alternatives to a policy may cost: its own, if it left budget on the table."""
    spent = not len(PROJECTION.lowered(row[:UNITS]))
    return 1.0 if spent else min(costs(row) / 0.95, 1.0)


def searched(score: Score, trials: int, **options: Any) -> tuple[BudgetedSampler, optuna.Study]:
    """Search by a made-up score; a decision is reverted where its alternative is better."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = BudgetedSampler(PROJECTION, 0, **options)
    study = optuna.create_study(sampler=sampler)
    for _ in range(trials):
        trial, params = ask(study, sampler)
        row = sampler.encoding.row(params)
        value = score(row)
        if EXAMINES in trial.user_attrs:
            before = score(np.array(trial.user_attrs[EXAMINES]["row"]))
            trial.set_user_attr(REGRET, {"reverted": value < before})
        study.tell(trial, value)
    return sampler, study


def costs(row: Rows) -> float:
    """Return the share of the limit that a policy uses."""
    return float(PROJECTION.shares(row[None, :UNITS]).max())


def by_levels(row: Rows) -> float:
    return float(
        (row[:UNITS] ** 2 * [3, 1, 2, 0.5, 1]).sum() + (row[UNITS:] * [0, 1, 0, 2, 1]).sum()
    )


@pytest.fixture(scope="module")
def half() -> tuple[BudgetedSampler, optuna.Study]:
    return searched(by_levels, 40, rollback=0.5)


def test_decisions_are_examined_in_the_share_of_proposals_that_was_asked_for(
    half: tuple[BudgetedSampler, optuna.Study],
) -> None:
    _, study = half
    count = sum(EXAMINES in trial.user_attrs for trial in study.trials)
    assert 10 <= count <= 20
    for at in range(len(study.trials)):
        so_far = sum(EXAMINES in trial.user_attrs for trial in study.trials[: at + 1])
        assert so_far <= 0.5 * (at + 1)
    _, without = searched(by_levels, 20, rollback=0.0)
    assert not any(EXAMINES in trial.user_attrs for trial in without.trials)


def test_the_policy_is_the_best_so_far_and_each_decision_of_it_has_one_more_try_at_the_end(
    half: tuple[BudgetedSampler, optuna.Study],
) -> None:
    sampler, study = half
    tries: Counter[tuple[Any, ...]] = Counter()
    rounds: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for at, trial in enumerate(study.trials):
        said = trial.user_attrs.get(EXAMINES)
        if said is not None:
            row, units = tuple(said["row"]), tuple(said["units"])
            rounds.setdefault(row, []).append((tries[row, units], len(units)))
            tries[row, units] += 1
            best = min(study.trials[:at], key=lambda one: one.values[0])
            assert sampler.encoding.row(best.params).tolist() == said["row"]
    assert max(tries.values()) <= TRIES
    assert all(order == sorted(order) for order in rounds.values())


def test_an_alternative_is_inside_the_budget_and_does_not_make_the_decision(
    half: tuple[BudgetedSampler, optuna.Study],
) -> None:
    sampler, study = half
    for trial in study.trials:
        if (said := trial.user_attrs.get(EXAMINES)) is not None:
            before, after = np.array(said["row"]), sampler.encoding.row(trial.params)
            own = said["units"]
            lower = (after[own] <= before[own]).all() and (after[own] < before[own]).any()
            other = (after[[UNITS + at for at in own]] != before[[UNITS + at for at in own]]).any()
            assert lower or other
            assert PROJECTION.meets(after[None, :UNITS])[0]
            assert costs(after) <= most(before)


@given(
    seed=st.integers(0, 10_000), units=st.sets(st.integers(0, UNITS - 1), min_size=1, max_size=2)
)
@settings(max_examples=50)
def test_every_way_to_undo_is_feasible_and_paid_by_others(seed: int, units: set[int]) -> None:
    sampler = BudgetedSampler(PROJECTION, 0)
    row = sampler.pool.random(np.random.default_rng(seed), 1)[0]
    own = sorted(at for at in units if row[at] > 0)
    if not own:
        return
    rows, owners = Decisions(sampler.pool).alternatives(row, [tuple(own)])
    if not len(rows):  # nobody is left who could pay
        wide = np.where(np.isin(np.arange(UNITS), own), row[:UNITS] - 1, 3)
        assert costs(np.concatenate([wide, row[UNITS:]])) > most(row)
        return
    assert set(owners) == {tuple(own)}
    assert PROJECTION.meets(rows[:, :UNITS]).all()
    assert not (rows == row).all(axis=1).any()
    others = [at for at in range(UNITS) if at not in own]
    assert (rows[:, own] <= row[own]).all()
    assert (rows[:, others] >= row[others]).all()
    assert max(map(costs, rows)) <= most(row)


def test_two_decisions_that_are_harmful_only_together_are_found() -> None:
    def score(row: Rows) -> float:
        bottleneck = 5.0 if row[0] > 0 or row[1] > 0 else 0.0  # to widen one of them is no use
        return bottleneck + by_levels(row) / 20

    _, study = searched(score, 60, rollback=0.6)
    pairs = [
        t for t in study.trials if len(t.user_attrs.get(EXAMINES, {"units": []})["units"]) == 2
    ]
    assert pairs
    best = min(trial.values[0] for trial in study.trials)
    assert best < 5.0


def test_what_was_reverted_is_not_repeated_unless_it_is_expected_to_be_the_best() -> None:
    sampler, study = searched(by_levels, 12, rollback=0.0)
    known = History(sampler.encoding).read(study)
    belief = sampler._forecaster.belief(known)
    assert belief is not None
    rows = sampler.pool.random(np.random.default_rng(0), 40)
    bad = Examined(np.array([2, 3, 3, 3, 3, *[0] * UNITS]), (0,), reverted=True)  # costs little
    decisions = Decisions(sampler.pool)
    again = decisions.repeated(rows, replace(known, examined=[bad]))
    assert again.any()
    assert (again == ((rows[:, 0] >= 2) & (rows[:, UNITS] == 0))).all()
    kept = Examined(bad.row, bad.units, reverted=False)
    assert not decisions.repeated(rows, replace(known, examined=[kept])).any()

    now = replace(known, examined=[bad])
    left = sampler._without_harm([(row, "random") for row in rows], now, belief)
    expected = belief.expected(rows)
    wanted = [
        row.tobytes()
        for row, no, e in zip(rows, again, expected, strict=True)
        if not no or e < belief.best
    ]
    assert [row.tobytes() for row, _ in left] == wanted
    assert len(left) < len(rows)


def test_what_was_reverted_is_repeated_where_more_must_be_saved_or_nothing_else_is_left() -> None:
    sampler, study = searched(by_levels, 12, rollback=0.0)
    known = History(sampler.encoding).read(study)
    belief = sampler._forecaster.belief(known)
    assert belief is not None
    rows = sampler.pool.random(np.random.default_rng(0), 40)
    dear = Examined(np.array([1, *[0] * (2 * UNITS - 1)]), (0,), reverted=True)
    assert not Decisions(sampler.pool).repeated(rows, replace(known, examined=[dear])).any()

    cheap = [Examined(row, (at,), reverted=True) for row in rows for at in range(UNITS)]
    worst = rows[np.argsort(-belief.expected(rows))[:5]]
    all_bad = [(row, "random") for row in worst]
    left = sampler._without_harm(all_bad, replace(known, examined=cheap), belief)
    assert left == all_bad


def test_decisions_come_in_small_lots_until_all_were_examined() -> None:
    sampler, study = searched(by_levels, 12, rollback=0.0)
    known = History(sampler.encoding).read(study)
    belief = sampler._forecaster.belief(known)
    assert belief is not None
    row = sampler.pool.random(np.random.default_rng(0), 1)[0]
    cut = int((row[:UNITS] > 0).sum())
    lots = list(Decisions(sampler.pool).open(row, known, belief))
    assert sum(map(len, lots)) == len({units for lot in lots for units in lot}) == cut + pairs(cut)
    assert max(map(len, lots)) <= 4
    assert [pairs(cut) for cut in (1, 2, 6, 20)] == [0, 1, 15, 15]


def test_with_the_same_seed_the_same_decisions_are_examined() -> None:
    first, second = (searched(by_levels, 25, rollback=0.4)[1] for _ in range(2))
    assert [t.params for t in first.trials] == [t.params for t in second.trials]
    assert [t.user_attrs.get(EXAMINES) for t in first.trials] == [
        t.user_attrs.get(EXAMINES) for t in second.trials
    ]


def test_attributes_of_others_called_the_same_are_left_alone() -> None:
    sampler = BudgetedSampler(PROJECTION, 0)
    study = optuna.create_study(sampler=sampler)
    for said in ("theirs", {"row": [1], "units": [0]}, {"units": [0]}, {"row": "x", "units": 1}):
        trial, params = ask(study, sampler)
        trial.set_user_attr(EXAMINES, said)
        study.tell(trial, by_levels(sampler.encoding.row(params)))
    assert not History(sampler.encoding).read(study).examined


def test_remembered_alternatives_are_those_of_the_same_policy_under_the_same_limits() -> None:
    projection = chain(WIDTHS, "macs=50%", METHODS)
    sampler = BudgetedSampler(projection, 0)
    first, second = sampler.pool.filled(sampler.pool.random(np.random.default_rng(0), 2))
    decisions = Decisions(sampler.pool)
    for row in (first, second, first):
        for asked in ([(0,)], [(0,), (1, 2)], [(1, 2)]):
            rows, owners = decisions.alternatives(row, asked)
            fresh_rows, fresh_owners = Decisions(sampler.pool).alternatives(row, asked)
            assert rows.tolist() == fresh_rows.tolist()
            assert owners == fresh_owners
    before, _ = decisions.alternatives(first, [(0,)])
    projection.tighten("macs", 0.9)
    after, _ = decisions.alternatives(first, [(0,)])
    assert after.tolist() == Decisions(sampler.pool).alternatives(first, [(0,)])[0].tolist()
    assert after.tolist() != before.tolist()
