"""The runs that a database knows, as those see them who do not work on them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from autoprune._hints import did_you_mean
from autoprune.agent.evaluating.outcomes import RECOVERED, SCORED
from autoprune.agent.housing.presence import PATIENCE, seems_alive
from autoprune.agent.housing.reached import Reached
from autoprune.agent.housing.workspace import RESULT, STUDY, database_in, holds, point_hint
from autoprune.core.heartbeat import Heartbeat
from autoprune.core.json_text import read_json
from autoprune.core.paths import resolved
from autoprune.core.stages import rank_of
from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.errors import AutopruneError, ConfigError
from autoprune.storage.agents import Agent, Agents
from autoprune.storage.database import Database
from autoprune.storage.ended import count_ended
from autoprune.storage.read_only import opened_to_read
from autoprune.storage.records import Evaluation, Run
from autoprune.storage.runs import PLACE, Runs

State = Literal["running", "finished", "stopped"]


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run.

    Args:
        run: What the database says of it.
        shared: The database, if it knows the run; None for one that only its folder knows.
        agents: Those that work on it and did not leave, dead ones too.
    """

    run: Run
    shared: Database | None
    agents: tuple[Agent, ...] = ()

    @property
    def on_server(self) -> bool:
        """Whether the run lives on a server, not in a file of its folder."""
        return self.shared is not None and self.shared.is_server

    @property
    def name(self) -> str:
        """Its name: on a server the run's own, else that of its folder."""
        return self.run.name if self.on_server else Path(self.run.name).name

    @property
    def folder(self) -> Path | None:
        """Where its result is or will be; None for one on a server that does not tell."""
        if not self.on_server:
            return Path(self.run.name)
        told = (self.run.outcome or self.run.kept.get(PLACE) or {}).get("folder")
        return Path(told) if told else None

    @property
    def living(self) -> tuple[Agent, ...]:
        """The agents that seem to live."""
        return tuple(one for one in self.agents if seems_alive(one))

    @property
    def state(self) -> State:
        """Whether somebody works on it, or it has come to its end, or waits to be resumed."""
        if self.living or (self.shared is None and self._beats()):
            return "running"
        if self.shared is None:  # one that was cut off leaves its heartbeat behind
            done = bool(self._result()) and Heartbeat.of(Path(self.run.name)) is None
        else:
            done = self.run.outcome is not None
        return "finished" if done else "stopped"

    def evaluations(self) -> int | None:
        """Return how many came to their end, as its report counts; None if that is not known."""
        with suppress(AutopruneError), self.opened() as (database, run):
            return count_ended(database, run.name)
        return None

    def best(self, count: int) -> list[Evaluation]:
        """Return what was found best: finalists as the search ranks them, then others by score."""
        with suppress(AutopruneError), self.opened() as (database, run):
            made = [one for one in database.evaluations(run.id) if one.score is not None]
            ranked = sorted(made, key=_rank)
            return [one for one in ranked if one.outcome in (RECOVERED, SCORED)][:count]
        return []

    def reached(self) -> Reached:
        """Return how far it got: its result, or what was best when it was last heard of."""
        if self.state == "finished":
            return Reached.of_result(self._result()) or self._nothing()
        now = max(self.living, key=lambda one: one.beaten_at, default=None)
        if now is not None and (told := Reached.told(now.status)):
            return told
        last = filter(None, map(Reached.told, self._last_words()))
        return self._found() or next(last, None) or self._nothing()

    def _nothing(self) -> Reached:
        return Reached(is_share=self.yardstick().is_share)

    def yardstick(self) -> Yardstick:
        """Return how its figures are to be read, as far as that is known."""
        if self.state == "finished" and (told := self._result()):
            return Yardstick.of(told)
        with suppress(AutopruneError), self.opened() as (_, run):
            return Yardstick.of(run.kept.get(YARDSTICK, {}))
        return Yardstick()

    @contextmanager
    def opened(self) -> Iterator[tuple[Database, Run]]:
        """Yield the database that holds its evaluations, and what that says of it.

        Raises:
            ConfigError: If its folder is gone.
            OutputError: If its file cannot be read.
        """
        if self.shared is not None and self.shared.is_server:
            yield self.shared, self.run
            return
        file = database_in(Path(self.run.name))
        if file is None:
            raise ConfigError(f"The run's folder {self.run.name} is gone, or holds no run now.")
        with opened_to_read(file) as database:
            run = database.find_run(STUDY)
            if run is None:
                raise ConfigError(f"{file} holds no run.")
            yield database, run

    def to_dict(self) -> dict[str, Any]:
        """Return what a list of runs tells of it, plain JSON types."""
        folder = self.folder
        return {
            "name": self.name,
            "state": self.state,
            "evaluations": self.evaluations(),
            **asdict(self.reached()),
            "begun": self.run.created_at.isoformat(timespec="seconds"),
            "agents": len(self.living),
            "folder": None if folder is None else str(folder),
            "folder_is_here": folder is not None and folder.is_dir(),
        }

    def _found(self) -> Reached:
        with suppress(AutopruneError), self.opened() as (database, run):
            return Reached.of_trials(database, run)
        return Reached()

    def _last_words(self) -> Iterator[Mapping[str, Any]]:
        """Yield what agents told before they died, the last one first."""
        for one in sorted(self.agents, key=lambda one: one.beaten_at, reverse=True):
            yield one.status
        beat = Heartbeat.of(self.folder) if self.folder is not None else None
        if beat is not None:
            yield beat.status

    def _beats(self) -> bool:
        beat = Heartbeat.of(Path(self.run.name))
        return beat is not None and not beat.is_gone and beat.age <= PATIENCE

    def _result(self) -> Mapping[str, Any]:
        """Return the result in the run's folder; here another run may be where an agent wrote."""
        if self.folder is None or (self.on_server and not holds(self.folder, self.run.config)):
            return {}
        with suppress(OSError, ValueError):
            found = read_json(self.folder / RESULT)
            return found if isinstance(found, dict) else {}
        return {}


def _rank(found: Evaluation) -> tuple[float, ...]:
    """Return what sorts the best first; of scores the lower is better."""
    if found.outcome == RECOVERED:
        return (0, *rank_of(found.quality, found.loss))
    return (1, inf if found.score is None else found.score)


def listed_runs(shared: Database) -> list[ListedRun]:
    """Return all runs of a database, oldest first."""
    agents = Agents(shared).all()
    return [_listed(run, shared, agents) for run in Runs(shared).all()]


def find_listed(given: str, shared: Database | None) -> ListedRun:
    """Return the run of a name, or of a folder.

    Args:
        given: The name on a server, or that of a run's folder, or a path of the folder.
        shared: The database that knows runs, None if there is none.

    Raises:
        ConfigError: If there is no such run, or several.
    """
    known = listed_runs(shared) if shared is not None else []
    path = str(resolved(given))
    found = [one for one in known if one.run.name in (given, path)] or [
        one
        for one in known
        if one.name == Path(given).name and (one.on_server or given == one.name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        folders = ", ".join(str(one.folder) for one in found)
        raise ConfigError(f"Several runs are named {given!r}: {folders}. Give the folder.")
    if (file := database_in(Path(given))) is not None:
        with opened_to_read(file) as database:
            run = database.find_run(STUDY)
        if run is not None:
            return ListedRun(run=replace(run, name=path), shared=None)
    names = sorted({one.name for one in known})
    raise ConfigError(
        f"There is no run {given!r}.{did_you_mean(given, names)}{point_hint(Path(given))} Give "
        "the name of one that autoprune runs list shows, or the folder that a search writes "
        "(--out)."
    )


def _listed(run: Run, shared: Database, agents: Sequence[Agent]) -> ListedRun:
    own = tuple(one for one in agents if one.run_id == run.id)
    return ListedRun(run=run, shared=shared, agents=own)
