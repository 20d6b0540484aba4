"""The option that names a database, said for what each command does with it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli.streams import echo
from autoprune.core.paths import at_home
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    from autoprune.execution.config import SearchFile
    from autoprune.storage.database import Database as Opened

_LEFT_OUT = "If left out, $AUTOPRUNE_DATABASE, else a file in your settings folder."


def _option(what: str) -> Any:
    return typer.Option(metavar="URL|FILE", help=f"{what} {_LEFT_OUT}")


Database = Annotated[
    str | None,
    _option(
        "What runs share, a database URL or a SQLite file: a run lives on it if it is a "
        "PostgreSQL, where others can join it, else in its folder. Scores, latencies and "
        "sensitivity tables are kept there for all runs."
    ),
]
KnownRuns = Annotated[
    str | None, _option("What knows the runs: the database URL or SQLite file of the searches.")
]
LookedAt = Annotated[
    str | None,
    _option(
        "The database: a URL or a SQLite file; RUN/autoprune.db is that of a run in its folder."
    ),
]
Tables = Annotated[
    str | None,
    _option(
        "Where latencies and sensitivity tables are kept, for all runs: a database URL or a "
        "SQLite file."
    ),
]


def here(database: str | None) -> str | None:
    """Return a URL as it is, and the path of a file as seen from where the command runs.

    Raises:
        ConfigError: If it is blank, as an unset variable of a shell is.
    """
    if database is not None and not database.strip():
        raise ConfigError("--database is empty. Give a URL or a file, or leave it out.")
    if database is None or "://" in database:
        return database
    return str(at_home(database).absolute())


def named(database: str | None, settings: "SearchFile") -> str | None:
    """Return the database that was given, see `here`, else that of a search file."""
    return settings.shared_database if database is None else here(database)


@contextmanager
def opened(database: str | None) -> "Iterator[Opened | None]":
    """Yield the shared database, None if there is no file of it, which is told."""
    from autoprune.storage.shared import missing_file, shared_database

    missing = missing_file(here(database))
    if missing is not None:
        echo(f"autoprune: there is no database {missing}; it knows no runs.", err=True)
        yield None
        return
    with closing(shared_database(here(database))) as shared:
        yield shared
