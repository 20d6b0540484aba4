"""Engines that only read: the database itself refuses whatever would change it."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from autoprune.errors import OutputError
from autoprune.storage.engine import engine_options, literal
from autoprune.storage.quick import QuickStorage

_PATIENCE = 30.0  # seconds that somebody who writes is waited for
_READ_ONLY = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


def reading_options(url: URL) -> dict[str, Any]:
    """Return the keyword arguments of `create_engine` for an engine that only reads."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        return {"creator": _SqliteReader(Path(str(url.database)))}
    refuse = _READ_ONLY.get(kind)
    return {**engine_options(url), "pool_events": [(_Says(refuse), "connect")] if refuse else []}


def connect_to_read(file: Path, how: str) -> sqlite3.Connection:
    """Connect to a SQLite file that is there; what would change it is refused.

    Args:
        file: The file.
        how: What SQLite's URI says of it: ``mode=ro``, ``mode=rw`` or ``immutable=1``.
    """
    uri = f"{file.absolute().as_uri()}?{how}"
    found = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, check_same_thread=False)
    found.execute("PRAGMA query_only=ON").close()
    return found


def stored_studies(url: str, options: dict[str, Any]) -> QuickStorage:
    """Return Optuna's storage as it is there, whatever its version; nothing is made.

    Args:
        url: Database URL.
        options: Those of `reading_options`.
    """
    return QuickStorage(
        literal(url),
        engine_kwargs=dict(options),
        skip_compatibility_check=True,
        skip_table_creation=True,
    )


@dataclass(frozen=True)
class _SqliteReader:
    """Connects to a file that may only be read."""

    file: Path

    def __call__(self) -> sqlite3.Connection:
        if not self.file.is_file():
            raise OutputError(f"There is no database file {self.file}.")
        wal = self.file.with_name(f"{self.file.name}-wal")
        # SQLite keeps notes for its readers beside the file; where it cannot, nobody writes.
        closed = not os.access(self.file.parent, os.W_OK) and not wal.exists()
        how = "immutable=1" if closed else "mode=ro"
        return connect_to_read(self.file, how)


@dataclass(frozen=True)
class _Says:
    """Gives a statement to each new connection."""

    statement: str

    def __call__(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(self.statement)
        cursor.close()
        connection.commit()
