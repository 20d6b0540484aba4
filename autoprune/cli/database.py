"""The option that names the database that runs share."""

from pathlib import Path
from typing import Annotated

import typer

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
    if database is None or "://" in database:
        return database
    return str(Path(database).expanduser().absolute())
