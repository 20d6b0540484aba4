"""``autoprune db``: bring a database up to date, and look whether it is sound."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autoprune.cli.database import LookedAt, here
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    from autoprune.storage.health import Health

db = typer.Typer(
    no_args_is_help=True,
    help="The database that runs share, or that of a run (--database RUN/autoprune.db).",
)


@db.command()
def upgrade(database: LookedAt = None, as_json: AsJson = False) -> None:
    """Bring the tables of autoprune up to date; what they hold is kept.

    A search does so by itself. Optuna's own tables are not touched. No file is made.
    """
    from autoprune.core.secrets import redact
    from autoprune.storage.shared import missing_file, shared_database, shared_url

    if (missing := missing_file(here(database))) is not None:
        raise ConfigError(
            f"There is no database {missing}, so nothing is brought up to date. Check the path; a "
            "search makes its database by itself."
        )

    with closing(shared_database(here(database))):  # whoever opens it brings it up to date
        url = redact(shared_url(here(database)))
    told = {"database": url, "revision": "current"}
    echo(json.dumps(told) if as_json else f"{url} is up to date.")


@db.command()
def check(database: LookedAt = None, as_json: AsJson = False) -> None:
    """Look at a database, and change nothing: exit code 1 if something is wrong.

    The file of SQLite, revisions of the tables, rows that refer to nothing, and how many rows
    there are. Trials that nobody works on are told too; they are no damage.
    """
    from autoprune.storage.health import check_health
    from autoprune.storage.shared import shared_url

    url = shared_url(here(database))
    found = check_health(url)
    if found.revision == "current" and "studies" in found.rows and not found.problems:
        _look_at_trials(url, found)
    if as_json:
        echo(json.dumps(asdict(found), indent=2))
    else:
        _tell(found)
    raise typer.Exit(1 if found.problems else 0)


def _look_at_trials(url: str, found: "Health") -> None:
    from autoprune.agent.housing.unsettled import unsettled
    from autoprune.storage.engine import parse_url
    from autoprune.storage.watched import watched

    parsed = parse_url(url)
    file = Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None
    with watched(url) as database:
        found.notes += unsettled(database, file)


def _tell(found: "Health") -> None:
    echo(f"{found.url}: tables are {found.revision}")
    width = max(map(len, found.rows), default=0)
    for name, count in found.rows.items():
        echo(f"  {name:{width}}  {count}")
    for problem in found.problems:
        echo(f"wrong: {problem}")
    for note in found.notes:
        echo(f"note: {note}")
    if not found.problems:
        echo("Nothing is wrong.")
