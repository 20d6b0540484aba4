"""Claims of policies: whatever the order in which processes write and look, one scores it."""

from collections.abc import Callable, Sequence
from itertools import permutations
from threading import Condition, Thread
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from autoprune.agent.samplers.claims import claim, claimed

pytestmark = pytest.mark.usefixtures("quiet_optuna")
ROW = np.array([1, 2, 0])
LOOKS_AND_WRITES = 4  # of one claim


class Turns:
    """Lets threads use a study one operation at a time, in a given order."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = list(order)
        self._at = 0
        self._changed = Condition()

    def take(self, who: int, work: Callable[[], Any]) -> Any:
        """Do some work when it is the turn of ``who``."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._turn() == who, timeout=10)
            found = work()
            self._at += 1
            self._changed.notify_all()
            return found

    def end(self, who: int) -> None:
        """Drop the turns that are left of one that is done."""
        with self._changed:
            self._order[self._at :] = [one for one in self._order[self._at :] if one != who]
            self._changed.notify_all()

    def _turn(self) -> int | None:
        return self._order[self._at] if self._at < len(self._order) else None


class Slow:
    """A study, and its storage, as one process sees it."""

    def __init__(self, study: optuna.Study, who: int, turns: Turns) -> None:
        self._study = self._own = study
        self._storage = self
        self._who, self._turns = who, turns
        del self._study  # what is asked of it waits for its turn

    def get_trials(self, **options: Any) -> Any:
        return self._turns.take(self._who, lambda: self._own.get_trials(**options))

    def set_trial_system_attr(self, *told: Any) -> None:
        storage = self._own._storage
        self._turns.take(self._who, lambda: storage.set_trial_system_attr(*told))


def outcome(order: Sequence[int]) -> list[bool]:
    """Return who got one policy, where all claim it and take turns in an order."""
    study = optuna.create_study()
    trials = [study.ask() for _ in range(max(order) + 1)]
    turns, got = Turns(order), [False] * len(trials)

    def run(who: int) -> None:
        try:
            got[who] = claim(Slow(study, who, turns), study.trials[who], ROW)  # type: ignore[arg-type]
        finally:
            turns.end(who)

    threads = [Thread(target=run, args=(who,)) for who in range(len(trials))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_of_two_one_at_most_gets_a_policy_in_whatever_order_they_go() -> None:
    orders = set(permutations([0, 1] * LOOKS_AND_WRITES, 2 * LOOKS_AND_WRITES))
    found = [outcome(order) for order in sorted(orders)]
    assert len(found) == 70
    assert not any(all(got) for got in found)
    assert {tuple(got) for got in found} >= {(True, False), (False, True)}
    assert outcome([0, 1] * LOOKS_AND_WRITES) == [True, False]  # in lockstep


@given(st.permutations([0, 1, 2] * LOOKS_AND_WRITES))
def test_of_three_one_at_most_gets_a_policy(order: list[int]) -> None:
    assert sum(outcome(order)) <= 1


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_what_was_scored_is_taken_and_what_failed_is_not(state: TrialState) -> None:
    study = optuna.create_study()
    first, second = study.ask(), study.ask()
    assert claim(study, study.trials[first.number], ROW)
    study.tell(first, 1.0 if state == TrialState.COMPLETE else None, state)
    assert claim(study, study.trials[second.number], ROW) is (state == TrialState.FAIL)


def test_a_claim_is_read_back_and_another_policy_is_no_rival() -> None:
    study = optuna.create_study()
    first, second, third = study.ask(), study.ask(), study.ask()
    assert claim(study, study.trials[first.number], ROW)
    assert claim(study, study.trials[second.number], ROW + 1)
    found = [claimed(trial).tolist() for trial in study.trials]
    assert found == [ROW.tolist(), (ROW + 1).tolist(), []]
    assert not len(claimed(study.trials[third.number]))
