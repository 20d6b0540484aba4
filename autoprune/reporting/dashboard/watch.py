"""From a run or a database to the view that a dashboard shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.study._frozen import FrozenStudy

from autoprune.agent.housing.workspace import STUDY, database_in
from autoprune.reporting.dashboard.additions import additions
from autoprune.reporting.dashboard.artifacts import ReadOnlyArtifacts
from autoprune.reporting.dashboard.facts import Facts
from autoprune.reporting.dashboard.looked_at import LookedAt
from autoprune.reporting.dashboard.names import plain
from autoprune.reporting.dashboard.plots import Plots
from autoprune.reporting.dashboard.trials import Shown
from autoprune.reporting.dashboard.view import Source, View
from autoprune.storage.agents import Agents
from autoprune.storage.engine import parse_url
from autoprune.storage.watched import Watched, watched


@contextmanager
def viewed(url: str, only: str | None) -> Iterator[tuple[View, ReadOnlyArtifacts]]:
    """Yield the view of a database, and its artifacts.

    Args:
        url: Database URL.
        only: Name of the study that is shown; None for all.

    Raises:
        ConfigError: If the URL cannot be used, or there are no studies of this Optuna.
        InfrastructureError: If a server cannot be reached.
        OutputError: If a SQLite file cannot be read.
    """
    store, plots = ReadOnlyArtifacts(), Plots()
    with watched(url) as found:
        runs = _Runs(found, _folder(url))

        def added(study: FrozenStudy, shown: Shown) -> dict[str, object]:
            return additions(study, shown, runs.name(study), store, plots)

        source = Source(
            studies=found.studies,
            only=only,
            name=runs.name,
            facts=runs.facts,
            additions=added,
        )
        yield View(source), store


@dataclass(frozen=True)
class _Runs:
    """The runs of a database that is looked at.

    Args:
        found: The database.
        folder: The folder of the run whose file it is, if it is that of one.
    """

    found: Watched
    folder: Path | None

    def name(self, study: FrozenStudy) -> str:
        """Return what a study is called: in a run's own file all are called the same."""
        own = self.folder is not None and study.study_name == STUDY
        return plain(self.folder.name if own and self.folder else study.study_name) or "unnamed"

    def facts(self, study: FrozenStudy) -> Facts:
        """Return what is known of a study now."""
        return Facts.of(study, self._listed(study))

    def _listed(self, study: FrozenStudy) -> LookedAt | None:
        runs = self.found.runs
        run = runs.find_run(study.study_name) if runs is not None else None
        if run is None or runs is None:
            return None
        if self.folder is not None:
            own = replace(run, name=str(self.folder))
            return LookedAt(run=own, shared=None, database=runs)
        if not runs.is_server:
            return None
        agents = tuple(one for one in Agents(runs).all() if one.run_id == run.id)
        return LookedAt(run=run, shared=runs, agents=agents, database=runs)


def _folder(url: str) -> Path | None:
    """Return the folder of the run whose file a URL names, None if it names none."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    file = Path(parsed.database).resolve()
    found = database_in(file.parent)
    return file.parent if found is not None and found.resolve() == file else None
