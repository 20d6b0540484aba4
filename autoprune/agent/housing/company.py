"""The others who work at the same time: agents of the same run, and runs that score the same."""

import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import optuna
from optuna.trial import Trial

from autoprune.agent.housing.presence import Presence
from autoprune.errors import ElsewhereError
from autoprune.storage.database import Database
from autoprune.storage.own_trials import AGENT
from autoprune.storage.study_trials import taken_over, unfinished

LOOK = 1.0  # seconds between two looks at what others did


class Company(Protocol):
    """Others who work at the same time."""

    @property
    def name(self) -> str:
        """What tells this agent apart; empty if it works alone."""

    @property
    def look(self) -> float | None:
        """Seconds between two looks at what others did, None if there is no need."""

    def turn(self) -> AbstractContextManager[None]:
        """Keep other agents of the run from proposing until the block ends."""

    def running(self, study: optuna.Study, mine: Container[int]) -> tuple[list[Trial], int]:
        """Return the unfinished trials that nobody works on, and how many others work on.

        Args:
            study: The study.
            mine: Numbers of those that this agent works on.
        """

    def finish(self) -> None:
        """Be the one who finishes the run; wait while another one does.

        Raises:
            ElsewhereError: If another one has finished it, or somebody removed it.
        """

    def take(self, leases: Sequence[str]) -> set[str]:
        """Keep others from doing some things; return those that nobody does already."""

    def give_back(self, leases: Sequence[str]) -> None:
        """Let others do them."""


class Alone:
    """Nobody else: what is unfinished is what dead processes left."""

    name = ""
    look = None

    def turn(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def running(self, study: optuna.Study, mine: Container[int]) -> tuple[list[Trial], int]:
        """Return the unfinished trials; whoever began those of others is dead."""
        return taken_over(study, unfinished(study, mine)), 0

    def finish(self) -> None:
        """Do nothing."""

    def take(self, leases: Sequence[str]) -> set[str]:
        """Return all: nobody else does anything."""
        return set(leases)

    def give_back(self, leases: Sequence[str]) -> None:
        """Do nothing."""


class Shared:
    """Agents of one database, which may work on the same run.

    Args:
        presence: This process among them.
        database: Where the run is.
        run: Name of the run that several may work on; None if its folder lets one in only.
    """

    def __init__(self, presence: Presence, database: Database, run: str | None) -> None:
        self._presence, self._database, self._run = presence, database, run

    @property
    def name(self) -> str:
        """What tells this agent apart."""
        return self._presence.id

    @property
    def look(self) -> float | None:
        """Seconds between two looks at what others did."""
        return LOOK if self._run else None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other agents of the run from proposing until the block ends."""
        if self._run is None:
            yield
            return
        with self._database.alone_in(f"propose {self._run}"):
            yield

    def running(self, study: optuna.Study, mine: Container[int]) -> tuple[list[Trial], int]:
        """Return the unfinished trials that nobody works on, and how many others work on."""
        found = unfinished(study, mine)
        if self._run is None or not found:
            return taken_over(study, found), 0
        others = self._presence.living() - {self.name}
        left = [trial for trial in found if trial.user_attrs.get(AGENT) not in others]
        return taken_over(study, left), len(found) - len(left)

    def finish(self) -> None:
        """Be the one who finishes the run; wait while another one does."""
        if self._run is None:
            return
        before = self._outcome()
        while not self.take([f"finish {self._run}"]):
            time.sleep(LOOK)
        after = self._outcome()
        if after != before and after is not None:
            raise ElsewhereError(
                f"Another agent finished the run {self._run!r}: its result is in "
                f"{after.get('folder')} on {after.get('host')}."
            )

    def _outcome(self) -> Mapping[str, Any] | None:
        run = self._database.find_run(self._run or "")
        return run.outcome if run else None

    def take(self, leases: Sequence[str]) -> set[str]:
        """Keep others from doing some things; return those that nobody does already."""
        return self._presence.take(leases)

    def give_back(self, leases: Sequence[str]) -> None:
        """Let others do them."""
        self._presence.give_back(leases)
