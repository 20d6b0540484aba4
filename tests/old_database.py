"""A database as the first release of its tables made it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from autoprune.storage.engine import sqlite_url


def at_first_revision(file: Path, run: str) -> None:
    """Make tables of the first revision in a SQLite file, with a run of that name."""
    config = Config()
    config.set_main_option("script_location", "autoprune.storage:migrations")
    engine = create_engine(sqlite_url(file))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "r0001")
        connection.execute(
            text(
                "INSERT INTO ap_run (name, created_at, config, model_fp, data_fp) "
                "VALUES (:run, '2026-01-01 00:00:00', '{}', 'm', 'd')"
            ),
            {"run": run},
        )
    engine.dispose()
