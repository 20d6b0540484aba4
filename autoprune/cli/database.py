"""The option that names the database that runs share."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autoprune.storage.database import Database as Opened

Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL|FILE",
        help="Where latencies and sensitivity tables are kept, for all runs: a database URL or a "
        "SQLite file. If left out, $AUTOPRUNE_DATABASE, else a file in your settings folder.",
    ),
]


def here(database: str | None) -> str | None:
    """Return a URL as it is, and the path of a file as seen from where the command runs."""
    if database is None or "://" in database or not database.strip():
        return database
    return str(Path(database).expanduser().absolute())


@contextmanager
def opened(database: str | None) -> "Iterator[Opened | None]":
    """Yield the shared database, None if there is no file of it, which is told."""
    from autoprune.storage.shared import missing_file, shared_database

    missing = missing_file(here(database))
    if missing is not None:
        typer.echo(f"autoprune: there is no database {missing}; it knows no runs.", err=True)
        yield None
        return
    with closing(shared_database(here(database))) as shared:
        yield shared
