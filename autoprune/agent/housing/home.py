"""Where a run lives: in a file of its own folder, or on a server that its agents share."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from autoprune.agent.housing.company import Company, Shared
from autoprune.agent.housing.presence import Presence, alive_at_work
from autoprune.agent.housing.workspace import SESSIONS, STUDY, Workspace, check_alike
from autoprune.errors import RunExistsError
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database, removed_run
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Run
from autoprune.storage.runs import Runs
from autoprune.storage.study import close_study, open_study, readable_study, remove_study
from autoprune.storage.told import is_stored


@dataclass(frozen=True, kw_only=True)
class Lodging:
    """A run that is being worked on.

    Args:
        database: Where it and its study are.
        run_id: Its number there.
        study: Name of its study.
        shared: The database that all runs share, which may be the same.
        shared_id: The run's number there.
        presence: This process among those that share it.
        company: Others who work at the same time.
    """

    database: Database
    run_id: int
    study: str
    shared: Database
    shared_id: int
    presence: Presence
    company: Company

    def keep(self, name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep something with the run, and return what is kept: what another process did first.

        Whoever goes on proposes alike.
        """
        return Runs(self.database).keep(self.run_id, name, content) if content else content

    def keep_session(self, told: Mapping[str, Any]) -> None:
        """Keep what a session of the run was told that may be different in the next one."""
        Runs(self.database).add_last(self.run_id, SESSIONS, told)

    @contextmanager
    def opened(
        self, sampler: optuna.samplers.BaseSampler, costs: list[str]
    ) -> Iterator[optuna.Study]:
        """Yield the study of the run.

        Raises:
            ElsewhereError: If somebody removed the run while it is used.
            InfrastructureError: If its server stays away while it is used.
            OutputError: If its file cannot be written any more.
        """
        with readable_study(self.database.url):
            study = open_study(self.database.url, self.study, costs=costs, sampler=sampler)
            try:
                yield study
            except (KeyError, SQLAlchemyError, StorageInternalError) as err:  # Optuna's own
                if is_stored(self.database, study):
                    raise
                raise removed_run() from err
            finally:
                close_study(study)

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Keep what the run came to, for those who list runs."""
        Runs(self.shared).finish(self.shared_id, outcome)


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a run lives, whether it is there already or not.

    A run whose shared database is a server lives there, under its name; else it lives in a file
    of its folder, and the shared database knows it by its folder.

    Args:
        shared: The database that runs share.
        workspace: The folder of the run.
        name: Name of the run on a server.
        if_exists: What to do if there is a run of that name.
    """

    shared: Database
    workspace: Workspace
    name: str
    if_exists: str

    def completed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings, with what a run that is resumed need not be told again."""
        run = self._run()
        return self.workspace.completed(config, run.config if run else None)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse to go on with a run that has other settings.

        Raises:
            RunExistsError: If there is one, or one of that name that is not to be resumed, or
                that agents work on and is to be overwritten.
        """
        self.workspace.check(config)
        self._refuse_busy()
        run = self._run()
        if run is not None and self.if_exists != "overwrite":
            place = f"the database under the name {self.name!r}"
            check_alike(place, run.config, config, resume=self.if_exists == "resume")

    def kept(self) -> Mapping[str, Any]:
        """Return what a run that is resumed kept, by name; empty if there is none."""
        if self.if_exists != "resume":
            return {}
        run = self._run()
        if run is None and self.workspace.database.is_file():
            with closing(self._own()) as database:
                run = database.find_run(STUDY)
        return run.kept if run is not None else {}

    @contextmanager
    def entered(
        self, config: Mapping[str, Any], *, finishes: bool = True, **fingerprints: str
    ) -> Iterator[Lodging]:
        """Begin the run, or go on with it, until the block ends.

        Args:
            config: Its settings.
            finishes: Whether it is brought to its end here; else somebody else is helped.
            fingerprints: Of model and data, ``model_fp`` and ``data_fp``.
        """
        # Again, for preparing took a while; and before anything is deleted.
        self._refuse_busy(looks=False)
        self.workspace.start(config)
        shared = self.shared
        shared_id = self._registered(config, fingerprints)
        if finishes:
            folder = str(self.workspace.folder.resolve())
            Runs(shared).begin(shared_id, config, folder)
        own = nullcontext(shared) if shared.is_server else closing(self._own())
        heart = self.workspace.heart
        with own as database, Presence(Agents(shared), shared_id, heart) as presence:
            name = self.name if shared.is_server else STUDY
            run = database.find_run(name)
            yield Lodging(
                database=database,
                run_id=run.id if run else database.start_run(name, config, **fingerprints),
                study=name,
                shared=shared,
                shared_id=shared_id,
                presence=presence,
                company=Shared(presence, shared, name if shared.is_server else None),
            )

    def _registered(self, config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> int:
        """Return the number of the run in the shared database, which knows it from now on."""
        server, runs = self.shared.is_server, Runs(self.shared)
        name = self.name if server else str(self.workspace.folder.resolve())
        known = self.shared.find_run(name)
        fresh = self.if_exists == "overwrite" or not (server or self.workspace.database.is_file())
        if known is not None and fresh:
            if server:
                remove_study(self.shared.url, name)
            runs.remove(known.id)
            known = None
        if known is None:
            try:
                return self.shared.start_run(name, config, **fingerprints)
            except RunExistsError:  # another process began it just now
                known = self.shared.find_run(name)
                if known is None or self.if_exists != "resume":
                    raise
        return known.id

    def _refuse_busy(self, *, looks: bool = True) -> None:
        """Refuse to start over while agents work on a run; a folder lets one process in anyway.

        Args:
            looks: Whether those that seem dead are looked at for some seconds.
        """
        run = self._run() if self.if_exists == "overwrite" else None
        busy = alive_at_work(Agents(self.shared), run.id, looks=looks) if run else []
        if run and busy:
            hosts = ", ".join(sorted({one.host.split()[0] for one in busy}))
            raise RunExistsError(
                f"Agents work on the run {run.name!r} ({len(busy)}, on {hosts}), or died less "
                "than a minute ago. Stop them before it is overwritten, or choose another --name "
                "(name= in Python)."
            )

    def _own(self) -> Database:
        return Database.open(sqlite_url(self.workspace.database))

    def _run(self) -> Run | None:
        """Return the run on the server, if it lives on one."""
        return self.shared.find_run(self.name) if self.shared.is_server else None
