"""Brings our tables to the newest revision; Optuna's tables are never touched.

Optuna keeps its own revision in ``alembic_version``, so ours is in ``ap_alembic_version``.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from autoprune.errors import ConfigError
from autoprune.storage.models import Base

_LOCK_KEY = 0x6175746F  # any number that all our processes agree on
_ONE_AT_A_TIME = threading.Lock()  # alembic's environment is global to the process


def include_name(name: str | None, type_: str, _parents: Any) -> bool:
    """Tell alembic whether it may look at a thing in the database: only at our tables."""
    return type_ != "table" or (name is not None and name.startswith("ap_"))


CONTEXT_OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "version_table": "ap_alembic_version",
    "include_name": include_name,
    "render_as_batch": True,
}


def state_of(engine: Engine) -> str:
    """Return ``current``, ``old``, ``none`` or ``unknown``; nothing is changed."""
    scripts = ScriptDirectory.from_config(_config())
    with engine.connect() as connection:
        found = _revisions(connection)
    known = {script.revision for script in scripts.walk_revisions()}
    if not found:
        return "none"
    if found - known:
        return "unknown"
    return "current" if found == set(scripts.get_heads()) else "old"


def dropped_tables(connection: Connection) -> list[str]:
    """Return the tables that a database of the newest revision should hold and does not."""
    return sorted(set(Base.metadata.tables) - set(inspect(connection).get_table_names()))


def upgrade(engine: Engine) -> None:
    """Migrate to the newest revision; of several processes at once, one does it.

    Raises:
        ConfigError: If the tables are of a revision this autoprune does not know, or some were
            dropped.
    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        if _revisions(connection) == set(scripts.get_heads()):
            if dropped := dropped_tables(connection):
                raise ConfigError(f"{told_dropped(dropped)} Or choose another database.")
            return
    with _exclusive(engine) as connection:
        _refuse_unknown(_revisions(connection), scripts)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def told_dropped(dropped: Sequence[str]) -> str:
    """Say which tables were dropped, and what to do."""
    return (
        f"The database lacks the tables {', '.join(dropped)}, which somebody dropped: what was in "
        "them is lost. Restore a backup."
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "autoprune.storage:migrations")
    return config


def _revisions(connection: Connection) -> set[str]:
    context = MigrationContext.configure(connection, opts=CONTEXT_OPTIONS)
    return set(context.get_current_heads())


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that no other process has at the same time."""
    sqlite = engine.dialect.name == "sqlite"
    with _ONE_AT_A_TIME, engine.connect() as connection:
        if sqlite:
            # To alter a table SQLite replaces it: checked, that would empty keys that refer to it.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        try:
            yield connection
            connection.commit()
        finally:
            connection.rollback()
            if sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _refuse_unknown(found: set[str], scripts: ScriptDirectory) -> None:
    unknown = found - {script.revision for script in scripts.walk_revisions()}
    if unknown:
        raise ConfigError(
            f"The database holds tables of revision {', '.join(sorted(unknown))}, which this "
            "autoprune does not know: a newer one wrote them. Upgrade with "
            "'pip install -U autoprune' or choose another database."
        )
