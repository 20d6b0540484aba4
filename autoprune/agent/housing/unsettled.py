"""Trials that nobody works on and that did not come to their end."""

from collections.abc import Iterator
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.housing.presence import PATIENCE, seems_alive
from autoprune.core.heartbeat import Heartbeat
from autoprune.storage.agents import Agents
from autoprune.storage.own_trials import AGENT
from autoprune.storage.runs import Runs
from autoprune.storage.watched import Watched


def unsettled(watched: Watched, file: Path | None) -> Iterator[str]:
    """Yield which runs of a database have such trials, a sentence each.

    Args:
        watched: The database, whose runs are known.
        file: The SQLite file that it is; agents of a run in its folder beat beside it.
    """
    assert watched.runs is not None
    living = {one.id for one in Agents(watched.runs).all() if seems_alive(one)}
    beat = Heartbeat.of(file.parent) if file is not None else None
    if beat is not None and not beat.is_gone and beat.age <= PATIENCE:
        return
    for run in Runs(watched.runs).all():
        left = _running(watched, run.name)
        count = sum(trial.user_attrs.get(AGENT) not in living for trial in left)
        if count:
            trials = "1 trial is" if count == 1 else f"{count} trials are"
            yield (
                f"{trials} unfinished in the run {run.name!r}, and nobody works there: the run "
                "settles that when it is gone on with (--if-exists resume)."
            )


def _running(watched: Watched, study: str) -> list[FrozenTrial]:
    """Return the trials of a study that did not come to their end; none if it is missing."""
    studies = watched.studies
    try:
        number = studies.get_study_id_from_name(study)
    except KeyError:
        return []
    return studies.get_all_trials(number, deepcopy=False, states=(TrialState.RUNNING,))
