"""Running trials of other agents: counted without reading them; those of dead agents are taken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from autoprune.agent.housing.company import Shared
from autoprune.storage.engine import sqlite_url
from autoprune.storage.own_trials import AGENT
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import begin_trials

SPACE = {f"level:u{at}": IntDistribution(0, 9) for at in range(8)}
PARAMS = {name: 3 for name in SPACE}


class Living:
    """Agents of which some live."""

    def __init__(self, own: str, *others: str) -> None:
        self.id, self._living = own, {own, *others}

    def living(self) -> set[str]:
        return self._living


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[tuple[optuna.Study, optuna.Study]]:
    """Return a study as two processes see it."""
    url = sqlite_url(tmp_path / "study.db")
    both = open_study(url, "s"), open_study(url, "s")
    yield both
    for study in both:
        close_study(study)


def company(*living: str) -> Shared:
    presence: Any = Living(*living)
    database: Any = None  # not asked
    return Shared(presence, database, "run")


def begin(study: optuna.Study, agent: str, count: int) -> list[int]:
    given = [{AGENT: agent}] * count
    return [one.number for one in begin_trials(study, [PARAMS] * count, SPACE, given)]


def sent_by(study: optuna.Study) -> list[str]:
    """Return what will hold the statements that the study sends from now on."""
    sent: list[str] = []
    engine = study._storage._backend.engine  # type: ignore[attr-defined]

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    return sent


def test_running_trials_of_others_are_read_once_however_many_they_are(
    studies: tuple[optuna.Study, optuna.Study],
) -> None:
    mine, theirs = studies
    own = begin(mine, "me", 2)
    begin(theirs, "x", 3)
    shared = company("me", "x")
    assert shared.running(mine, own) == ([], 3)
    sent = sent_by(mine)
    assert shared.running(mine, own) == ([], 3)
    few = len(sent)
    sent.clear()
    begin(theirs, "x", 200)
    assert shared.running(mine, own) == ([], 203)
    assert sum("FROM trial_params" in one for one in sent) == 1, "200 new ones in one reading"
    sent.clear()
    assert shared.running(mine, own) == ([], 203)
    assert len(sent) == few <= 2, sent
    assert not [one for one in sent if "FROM trial_params" in one]


def test_trials_of_dead_agents_are_taken_over(
    studies: tuple[optuna.Study, optuna.Study],
) -> None:
    mine, theirs = studies
    own = begin(mine, "me", 1)
    dead = begin(theirs, "dead", 2)
    living = begin(theirs, "x", 1)
    left, others = company("me", "x").running(mine, own)
    assert ([trial.number for trial in left], others) == (dead, len(living))
    assert left[0].params == PARAMS
    mine.tell(left[0], 2.0)
    assert [mine.trials[at].state for at in dead] == [TrialState.COMPLETE, TrialState.RUNNING]
