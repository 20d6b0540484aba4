"""Trials that nobody works on and that did not come to their end."""

from collections.abc import Iterator
from pathlib import Path

from optuna.trial import TrialState

from autoprune.agent.presence import PATIENCE, seems_alive
from autoprune.core.heartbeat import Heartbeat
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.own_trials import AGENT
from autoprune.storage.runs import Runs
from autoprune.storage.study import close_study, open_stored


def unsettled(database: Database, file: Path | None) -> Iterator[str]:
    """Yield which runs of a database have such trials, a sentence each.

    Args:
        database: The database.
        file: The SQLite file that it is; agents of a run in its folder beat beside it.
    """
    living = {one.id for one in Agents(database).all() if seems_alive(one)}
    beat = Heartbeat.of(file.parent) if file is not None else None
    if beat is not None and not beat.is_gone and beat.age <= PATIENCE:
        return
    for run in Runs(database).all():
        study = open_stored(database.url, run.name)
        if study is None:
            continue
        try:
            left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        finally:
            close_study(study)
        count = sum(trial.user_attrs.get(AGENT) not in living for trial in left)
        if count:
            trials = "1 trial is" if count == 1 else f"{count} trials are"
            yield (
                f"{trials} unfinished in the run {run.name!r}, and nobody works there: the run "
                "settles that when it is gone on with (--if-exists resume)."
            )
