"""Trials that are begun and ended many at once: stored as Optuna stores them, read no more."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from autoprune.storage.engine import sqlite_url
from autoprune.storage.own_trials import AGENT
from autoprune.storage.quick import Ending
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import begin_trials, end_trials

SPACE = {"level": IntDistribution(0, 9), "method": CategoricalDistribution(("a", "b"))}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


@pytest.fixture
def study(url: str) -> Iterator[optuna.Study]:
    study = open_study(url, "s")
    yield study
    close_study(study)


@pytest.fixture
def other(url: str, study: optuna.Study) -> Iterator[optuna.Study]:
    """Return the study as another process sees it."""
    other = open_study(url, "s")
    yield other
    close_study(other)


def begin(study: optuna.Study, count: int) -> list[Trial]:
    params = [{"level": at % 10, "method": "ab"[at % 2]} for at in range(count)]
    return begin_trials(study, params, SPACE, [{"source": f"{at}"} for at in range(count)])


def ending(trial: Trial, value: float | None = 1.0, **more: Any) -> Ending:
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    values = [] if value is None else [value]
    return Ending(trial_id=trial._trial_id, state=state, values=values, **more)


def statements(study: optuna.Study) -> list[str]:
    """Return what will hold the statements that the study sends from now on."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    return sent


def test_what_is_begun_and_ended_at_once_is_stored_as_optuna_stores_it(
    url: str, study: optuna.Study
) -> None:
    trials = begin(study, 4)
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    attributes = {"outcome": "scored", "costs": {"macs": 3.0}}
    told = [
        ending(trials[0], 0.5, reports={0: 2.0, 1: float("inf")}, attributes=attributes),
        ending(trials[2], float("-inf")),
        ending(trials[3], None, attributes={"source": "another"}),
    ]
    end_trials(study, told)
    plain = optuna.load_study(study_name="s", storage=url)
    assert study.trials == plain.trials
    done, running, lowest, failed = plain.trials
    assert (done.value, done.params) == (0.5, {"level": 0, "method": "a"})
    assert done.intermediate_values == {0: 2.0, 1: float("inf")}
    assert done.user_attrs == {"source": "0", **attributes}
    assert (lowest.value, running.state) == (float("-inf"), TrialState.RUNNING)
    assert (failed.state, failed.user_attrs) == (TrialState.FAIL, {"source": "another"})
    assert failed.values is None
    assert begin(study, 2)[1].number == 5


def test_its_own_running_trials_are_not_read(study: optuna.Study) -> None:
    begin(study, 1)
    trials = begin(study, 20)
    assert len(study.trials) == 21
    sent = statements(study)
    assert len(study.get_trials(deepcopy=False)) == 21
    end_trials(study, [ending(trials[3]), ending(trials[4])])
    found = study.get_trials(deepcopy=False)
    assert [t.number for t in found if t.state == TrialState.COMPLETE] == [4, 5]
    assert not [one for one in sent if "FROM trial_params" in one]
    inserted = [one for one in sent if one.startswith("INSERT")]
    assert len(inserted) == 1, "two values at once"


def test_trials_are_locked_in_one_order_however_they_are_ended(study: optuna.Study) -> None:
    trials = begin(study, 3)
    sent = statements(study)
    end_trials(study, [ending(trials[at]) for at in (2, 0, 1)])
    (locked,) = [one for one in sent if one.startswith("SELECT trials.")]
    assert locked.endswith("ORDER BY trials.trial_id")


def test_what_others_do_is_seen(study: optuna.Study, other: optuna.Study) -> None:
    mine = begin(study, 3)
    theirs = begin(other, 2)
    assert [t.number for t in study.trials] == [0, 1, 2, 3, 4]
    end_trials(other, [ending(theirs[1], 7.0)])
    assert study.trials[4].value == 7.0
    later = begin(other, 1)
    end_trials(study, [ending(mine[0])])
    assert [t.number for t in study.trials if t.state == TrialState.RUNNING] == [1, 2, 3, 5]
    end_trials(other, [ending(later[0], None)])
    assert study.trials[5].state == TrialState.FAIL


def test_of_running_trials_of_other_agents_only_the_end_is_looked_at(
    study: optuna.Study, other: optuna.Study
) -> None:
    begin(other, 1)
    named = begin_trials(other, [{"level": 1, "method": "a"}] * 5, SPACE, [{AGENT: "x"}] * 5)
    assert len(study.trials) == 6
    sent = statements(study)
    assert len(study.trials) == 6
    read = [one for one in sent if "FROM trial_params" in one]
    assert len(read) == 1, "the one that names no agent may still get parameters"
    end_trials(other, [ending(named[2], 4.0)])
    assert [t.value for t in study.trials] == [None, None, None, 4.0, None, None]
    assert study.trials == other.trials


def test_many_are_read_a_few_at_a_time(
    study: optuna.Study, other: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprune.storage.own_trials._AT_ONCE", 4)
    trials = begin(other, 10)
    end_trials(other, [ending(one, float(at)) for at, one in enumerate(trials[:9])])
    sent = statements(study)
    assert [t.value for t in study.trials] == [*map(float, range(9)), None]
    assert sum("FROM trial_params" in one for one in sent) == 3
    assert study.trials == other.trials


def test_what_others_ended_stays_as_it_is(study: optuna.Study, other: optuna.Study) -> None:
    """They took this process for dead."""
    mine = begin(study, 2)
    assert len(study.trials) == 2
    end_trials(other, [ending(Trial(other, mine[0]._trial_id), None)])
    end_trials(study, [ending(one, 3.0, attributes={"late": True}) for one in mine])
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "late" not in study.trials[0].user_attrs


def test_trials_that_grow_piece_by_piece_are_read_as_they_grow(
    study: optuna.Study, other: optuna.Study
) -> None:
    theirs = other.ask()
    assert study.trials[0].params == {}
    theirs.suggest_int("level", 0, 9)
    assert set(study.trials[0].params) == {"level"}
    (mine,) = begin(study, 1)
    mine.set_user_attr("more", 1)
    mine.report(2.0, 0)
    assert study.trials[1].user_attrs["more"] == 1
    assert study.trials[1].intermediate_values == {0: 2.0}
    study.tell(mine, 4.0)
    assert (study.trials[1].value, other.trials[1].value) == (4.0, 4.0)


def test_pickled_it_owns_nothing(study: optuna.Study, other: optuna.Study) -> None:
    mine = begin(study, 2)
    copied = pickle.loads(pickle.dumps(study._storage))
    end_trials(study, [ending(mine[0])])
    states = [t.state for t in copied.get_all_trials(study._study_id)]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]
    copied._backend.engine.dispose()


def test_a_study_in_memory_takes_them_too() -> None:
    study = optuna.create_study()
    trials = begin(study, 3)
    study.tell(trials[0], 1.0)
    end_trials(study, [ending(one, 2.0, reports={0: 3.0}) for one in trials])
    assert [t.value for t in study.trials] == [1.0, 2.0, 2.0]
    assert [t.intermediate_values for t in study.trials] == [{}, {0: 3.0}, {0: 3.0}]


def test_a_reading_that_was_cut_is_done_again(
    study: optuna.Study, other: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_trials(study, [ending(trial) for trial in begin(study, 3)])
    backend: Any = other._storage._backend  # type: ignore[attr-defined]
    read, cut = backend.read, [True]

    def once_cut(*given: Any) -> Any:
        if cut and cut.pop():
            raise ConnectionError("The server left.")
        return read(*given)

    monkeypatch.setattr(backend, "read", once_cut)
    with pytest.raises(ConnectionError):
        other.get_trials()
    assert [trial.number for trial in other.get_trials()] == [0, 1, 2]
