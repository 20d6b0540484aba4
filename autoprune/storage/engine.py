"""Engines for the one database of a run: a fast, patient SQLite and errors without secrets."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from autoprune.core.secrets import redact
from autoprune.errors import (
    AutopruneError,
    CandidateError,
    ConfigError,
    InfrastructureError,
    OutputError,
)
from autoprune.storage.patience import Connect, is_away

# The file keeps WAL; the other two hold for one connection and are set on each. WAL with NORMAL
# survives a killed process; a power cut can lose the last commits but not damage the file.
_PRAGMAS = ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL")
_PATIENCE = 30.0  # seconds
_NO_DATABASE = ("file is not a database", "disk image is malformed")  # as SQLite says it


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file, whatever characters its path holds.

    Raises:
        ConfigError: If its path is no text in UTF-8, which SQLite's are.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as err:
        raise ConfigError(
            f"The path {str(path)!r} holds bytes that are no UTF-8, so no database can lie there. "
            "Rename the folder or the file."
        ) from err
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def parse_url(url: str) -> URL:
    """Read a database URL and make sure that its driver is there.

    Raises:
        ConfigError: If it is no database URL or its driver is not installed. Secrets in the URL
            are starred out.
    """
    shown = f"The database URL {redact(url)!r}"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"{shown} cannot be read. Write 'sqlite:///FILE' or "
            "'postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME'."
        ) from None
    if parsed.password is not None and url.count("@") > 1:
        # Read literally, a piece of the password would become the host and land in messages.
        raise ConfigError(f"{shown} holds more than one '@'. Write those in a password as '%40'.")
    try:
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, ImportError):
        raise ConfigError(
            f"{shown} needs a driver that is not installed. For PostgreSQL run "
            "'pip install psycopg[binary]' and write 'postgresql+psycopg://'."
        ) from None
    return parsed


def engine_options(url: URL) -> dict[str, Any]:
    """Return the keyword arguments of `create_engine` that every engine for ``url`` shares."""
    if url.get_backend_name() == "sqlite":
        return {"pool_events": [(_tune_sqlite, "connect")]}
    return {"pool_pre_ping": True, "creator": Connect(url)}


def literal(url: str) -> str:
    """Return a URL as Optuna's storage takes it, which formats it as a template."""
    return url.replace("{", "{{").replace("}", "}}")


def make_engine(url: URL) -> Engine:
    """Return an engine that has not connected yet and refuses NaN in JSON columns."""
    engine = create_engine(
        url,
        json_serializer=lambda content: json.dumps(content, allow_nan=False),
        **engine_options(url),
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _check_foreign_keys)
    return engine


@contextmanager
def readable_errors(url: URL) -> Iterator[None]:
    """Turn the errors of an unusable database into ones a user can act on.

    Raises:
        ConfigError: If a database server cannot be used.
        InfrastructureError: If it cannot be reached.
        OutputError: If a SQLite file cannot be used.
    """
    try:
        yield
    except DBAPIError as err:
        if is_away(err):
            raise explain(url, err) from err
        connecting = err.statement is None  # drivers refuse options of the URL as they like
        usual = isinstance(err, OperationalError) or type(err) is DatabaseError
        if not (usual or connecting):
            raise
        raise explain(url, err) from None


@contextmanager
def readable_rows(url: URL) -> Iterator[None]:
    """Turn what is raised over rows that are not as we write them into one error.

    What is wrong inside a row is seen by nobody but who reads it: JSON that was cut off, a word
    that is no state, a text for a number.

    Raises:
        OutputError: If a row cannot be read.
    """
    try:
        yield
    except (CandidateError, ConfigError) as err:  # of records that check themselves
        raise _damaged(url, err) from err
    except AutopruneError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
        raise _damaged(url, err) from err


def _damaged(url: URL, err: Exception) -> OutputError:
    reason = shorten(f"{type(err).__name__}: {err}", 300)
    return OutputError(
        f"The database {redact(_text(url))!r} holds what autoprune did not write ({reason}): it "
        "is damaged, or something else wrote to it. Look with autoprune db check, and restore a "
        "copy. If that finds nothing wrong, this may be a fault of ours: please report it."
    )


def explain(url: URL, err: BaseException) -> AutopruneError:
    """Return the error for a database at ``url`` that could not be used because of ``err``."""
    reason = " ".join(str(getattr(err, "orig", None) or err).split())
    if url.password:
        reason = reason.replace(str(url.password), "***")
    if url.get_backend_name() == "sqlite":
        if any(sign in reason for sign in _NO_DATABASE):
            return _unreadable(url, reason)
        return OutputError(
            f"The database file {url.database!r} cannot be used ({reason}). Its folder must "
            "exist, be writable and have free space. Mend that, or name another file or folder."
        )
    if is_away(err):
        return InfrastructureError(
            f"The database server {redact(_text(url))!r} cannot be reached ({reason}). What was "
            "stored is kept. Check that it runs and that the URL names the right host and port, "
            "then give the same command again, a search with --if-exists resume."
        )
    return ConfigError(
        f"The database {redact(_text(url))!r} cannot be used ({reason}). "
        "Check that the server runs and that the URL names the right host, user, password, "
        "database and options."
    )


def _unreadable(url: URL, reason: str) -> OutputError:
    return OutputError(
        f"The database file {url.database!r} is damaged, or no SQLite database ({reason}). "
        "Restore a copy of it. Without one: in a run's folder, copy the result files you want to "
        "keep (they do not depend on it), then add --if-exists overwrite, which empties the "
        "folder and begins again, or choose another --out; scores in the shared database are used "
        "again. If it is the shared database itself, move it away, and the next search makes a "
        "new one, or name another with --database."
    )


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _tune_sqlite(connection: Any, _record: Any) -> None:
    for pragma in _PRAGMAS:
        _set(connection, pragma)


def _set(connection: Any, pragma: str) -> None:
    """Set a pragma; SQLite does not wait by itself while another process changes to WAL too."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _check_foreign_keys(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON").close()
