"""The database that runs share: what was measured of a device serves every model."""

import os
from pathlib import Path

import typer

from autoprune.core.paths import at_home
from autoprune.core.secrets import redact
from autoprune.errors import ConfigError, OutputError
from autoprune.storage.database import Database
from autoprune.storage.engine import parse_url, sqlite_url

VARIABLE = "AUTOPRUNE_DATABASE"


def shared_database(given: str | None = None) -> Database:
    """Open the shared database.

    Args:
        given: A database URL or the path of a SQLite file. If None, what the environment
            variable ``AUTOPRUNE_DATABASE`` names, else a file in the user's folder for settings.

    Raises:
        ConfigError: If the URL cannot be read or used.
        OutputError: If the file or its folder cannot be written.
    """
    place = _place(given)
    if isinstance(place, str):
        return Database.open(place)
    file = place
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(
            f"The folder {file.parent} for the shared database cannot be made: {err.strerror}. "
            f"Name another file or a database URL with --database or {VARIABLE}."
        ) from err
    return Database.open(sqlite_url(file))


def shared_url(given: str | None = None) -> str:
    """Return the URL of the shared database, its secrets included.

    Args:
        given: As for `shared_database`.
    """
    place = _place(given)
    return place if isinstance(place, str) else sqlite_url(place)


def server_of(given: str | None = None) -> str | None:
    """Return the shared database for people, secrets starred out, if it is a server; else None.

    Args:
        given: As for `shared_database`.

    Raises:
        ConfigError: If the URL cannot be read.
    """
    place = _place(given)
    if not isinstance(place, str) or parse_url(place).get_backend_name() == "sqlite":
        return None
    return redact(place)


def missing_file(given: str | None = None) -> Path | None:
    """Return the file that the shared database would be in, if there is none: nothing is stored.

    Args:
        given: As for `shared_database`.

    Raises:
        ConfigError: If the URL cannot be read.
    """
    place = _place(given)
    if isinstance(place, str):
        url = parse_url(place)
        if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
            return None
        place = Path(str(url.database))
    return None if os.path.exists(place) else place


def _place(given: str | None) -> str | Path:
    """Return a URL as it is, else a path."""
    if given is not None and not given.strip():
        raise ConfigError(
            "The database that was given is empty. Give a URL or a file, or leave it out."
        )
    place = given or os.environ.get(VARIABLE)
    if place and "://" in place:
        return place
    return at_home(place or Path(typer.get_app_dir("autoprune")) / "autoprune.db")
