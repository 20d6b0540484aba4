"""A run as those see it who only look."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from autoprune.agent.housing.listed import ListedRun
from autoprune.storage.database import Database
from autoprune.storage.records import Run


@dataclass(frozen=True, kw_only=True)
class LookedAt(ListedRun):
    """A run whose database is open to look at; it is not opened another time.

    Args:
        database: The database that holds its evaluations.
    """

    database: Database

    @contextmanager
    def opened(self) -> Iterator[tuple[Database, Run]]:
        """Yield the database, and what it says of the run."""
        yield self.database, self.run
