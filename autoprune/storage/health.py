"""What may be wrong with a database; looking changes nothing in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine, func, inspect, select, table
from sqlalchemy.exc import DBAPIError

from autoprune.core.secrets import redact
from autoprune.storage.engine import explain, parse_url
from autoprune.storage.migrate import dropped_tables, state_of, told_dropped
from autoprune.storage.models import Base
from autoprune.storage.reader import reading_options, stored_studies

_REVISIONS = {
    "none": "It holds no tables of autoprune. Run autoprune db upgrade, or begin a search.",
    "old": "Its tables are of an older autoprune. Run autoprune db upgrade.",
    "unknown": "Its tables are of a newer autoprune: pip install -U autoprune.",
}
_FEW = 5  # problems of a damaged file that are told


@dataclass
class Health:
    """What was found.

    Args:
        url: The database, secrets starred out.
        revision: ``current``, ``old``, ``none`` or ``unknown``.
        rows: How many rows each table has.
        problems: What is wrong and what to do, a sentence or two each.
        notes: What is worth a word and no damage, a sentence or two each.
    """

    url: str
    revision: str = "none"
    rows: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_health(url: str) -> Health:
    """Look at a database: its file, revisions, references, and how much it holds.

    Raises:
        ConfigError: If the URL cannot be read, or a server cannot be used.
        InfrastructureError: If a server cannot be reached.
    """
    parsed = parse_url(url)
    found = Health(redact(url))
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        found.problems.append(f"There is no file {parsed.database}.")
        return found
    with _disposed(create_engine(parsed, **reading_options(parsed))) as engine:
        try:
            found.problems += _damage(engine)
            if not found.problems:
                _look(engine, url, found)
        except DBAPIError as err:
            problem = explain(parsed, err)
            if engine.dialect.name != "sqlite":
                raise problem from None
            found.problems.append(str(problem))
    return found


def _look(engine: Engine, url: str, found: Health) -> None:
    found.revision = state_of(engine)
    found.problems += [_REVISIONS[found.revision]] if found.revision in _REVISIONS else []
    names = sorted(inspect(engine).get_table_names())
    with engine.connect() as connection:
        for name in names:
            query = select(func.count()).select_from(table(name))
            found.rows[name] = connection.execute(query).scalar_one()
        dropped = dropped_tables(connection) if found.revision == "current" else []
    if dropped:
        found.problems.append(told_dropped(dropped))
    elif found.revision == "current":
        found.problems += _dangling(engine)
    if "version_info" in names:
        found.problems += _optuna(url)


def _damage(engine: Engine) -> list[str]:
    """Return what SQLite finds wrong with its file."""
    if engine.dialect.name != "sqlite":
        return []
    with engine.connect() as connection:
        told = connection.exec_driver_sql(f"PRAGMA integrity_check({_FEW})").scalars().all()
    if told == ["ok"]:
        return []
    return [
        f"The file is damaged: {'; '.join(' '.join(str(one).split()) for one in told)}. Restore a "
        "copy, or save what can be read with sqlite3 FILE .recover."
    ]


def _dangling(engine: Engine) -> Iterator[str]:
    """Yield which of our rows refer to others that are not there."""
    with engine.connect() as connection:
        for own in Base.metadata.sorted_tables:
            for key in own.foreign_keys:
                there = select(key.column)
                lost = key.parent.is_not(None) & key.parent.not_in(there)
                query = select(func.count()).select_from(own).where(lost)
                count = connection.execute(query).scalar_one()
                if count:
                    yield (
                        f"{count} rows of {own.name} refer to rows of {key.column.table.name} "
                        "that are not there: something else wrote to the database. Restore a copy."
                    )


def _optuna(url: str) -> list[str]:
    """Return what is wrong with the version of Optuna's tables."""
    storage = stored_studies(url, reading_options(parse_url(url)))
    try:
        here, needed = storage.get_current_version(), storage.get_head_version()
    finally:
        storage.engine.dispose()
    if here == needed:
        return []
    return [
        f"Optuna's tables are of version {here}, and this Optuna needs {needed}. Run optuna "
        "storage upgrade --storage URL, or install the Optuna that wrote them."
    ]


@contextmanager
def _disposed(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()
