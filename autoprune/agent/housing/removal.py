"""Taking a run out of the database that knows it; its folder is never touched."""

from dataclasses import dataclass

from autoprune.agent.housing.listed import ListedRun
from autoprune.agent.housing.presence import alive_at_work, place_of
from autoprune.errors import AutopruneError, ConfigError, RunExistsError
from autoprune.storage.agents import Agents
from autoprune.storage.records import EvaluationKey
from autoprune.storage.runs import Runs
from autoprune.storage.study import remove_study


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Args:
        run: Name of the run.
        evaluations: How many evaluations, None if that was not asked for.
    """

    run: str
    evaluations: int | None


def remove_run(found: ListedRun, *, evaluations: bool = False, force: bool = False) -> Removed:
    """Remove a run from the database, on a server with its study.

    What it scored stays there for other runs unless it is asked for. A run that lives in its
    folder is only forgotten: the file in the folder is what it is.

    Args:
        found: The run.
        evaluations: Whether what it scored is removed as well.
        force: Whether that is done while agents work on it.

    Raises:
        ConfigError: If the database does not know the run, or its evaluations cannot be told.
        RunExistsError: If agents work on it.
    """
    shared, run = found.shared, found.run
    if shared is None:
        raise ConfigError(
            f"No database knows the run in {run.name}; there is nothing to remove. To be rid of "
            "the run, delete its folder."
        )
    busy = [] if force else alive_at_work(Agents(shared), run.id)
    if busy:
        hosts = "; ".join(sorted({place_of(one) for one in busy}))
        raise RunExistsError(
            f"Agents work on the run {found.name!r}: {hosts}. Stop them first, or add --force."
        )
    keys = _keys(found) if evaluations else []
    if shared.is_server:  # before its row: a study without a run would be taken for a new one's
        remove_study(shared.url, run.name)
    Runs(shared).remove(run.id)
    return Removed(found.name, Runs(shared).forget(keys) if evaluations else None)


def _keys(found: ListedRun) -> list[EvaluationKey]:
    try:
        with found.opened() as (database, run):
            return Runs(database).keys(run.id)
    except AutopruneError as err:
        raise ConfigError(
            f"Which evaluations the run {found.name!r} stored cannot be told: {err} Leave out "
            "--evaluations; those that nobody needs do no harm."
        ) from err
