"""A run's database for those who only read it: nothing that it holds is changed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, create_engine

from autoprune.core.paths import resolved
from autoprune.errors import ArtifactError, ConfigError, OutputError
from autoprune.storage.database import Database
from autoprune.storage.engine import parse_url, readable_errors, sqlite_url
from autoprune.storage.migrate import dropped_tables, state_of, told_dropped
from autoprune.storage.reader import connect_to_read


@contextmanager
def opened_to_read(file: Path) -> Iterator[Database]:
    """Open a run's SQLite file to read.

    A copy of it where nothing may be written, as SQLite writes beside a file even to read it, and
    where it must be brought up to date first.

    Raises:
        ArtifactError: If it holds no tables of autoprune, as one that was made just now.
        ConfigError: If a newer autoprune wrote it, or some of its tables were dropped.
        OutputError: If it cannot be read, or is a link out of its folder.
    """
    if file.is_symlink() and resolved(file).parent != resolved(file.parent):
        raise OutputError(
            f"{file} is a link that leaves its folder, to {resolved(file)}. The database of a run "
            "lies in the run's folder: give the folder where it is."
        )
    writable = all(os.access(path, os.W_OK) for path in (file, file.parent))
    with ExitStack() as stack:
        if writable and _state(file) == "current":
            # Who may write takes SQLite's side files away again at the end.
            database = Database(_engine(file, "mode=rw"))
        else:
            database = _copy(file, stack)
        yield stack.enter_context(closing(database))


def _state(file: Path) -> str:
    """Return ``current``, ``old`` or ``unknown``: the state of its tables.

    Raises:
        ArtifactError: If it holds none.
        ConfigError: If some were dropped.
        OutputError: If it cannot be read.
    """
    wal = file.with_name(f"{file.name}-wal")
    # Without it nobody works on the file, and SQLite need not make any notes beside it.
    engine = _engine(file, "mode=ro" if wal.exists() else "immutable=1")
    try:
        with readable_errors(engine.url):
            state = state_of(engine)
            with engine.connect() as connection:
                dropped = dropped_tables(connection) if state == "current" else []
    finally:
        engine.dispose()
    if dropped:
        raise ConfigError(told_dropped(dropped))
    if state == "none":
        raise ArtifactError(
            f"The database file {str(file)!r} holds no tables of autoprune, so it is no run's. "
            "It is left as it is. Give the folder that a search wrote (--out)."
        )
    return state


def _engine(file: Path, how: str) -> Engine:
    return create_engine(parse_url(sqlite_url(file)), creator=partial(connect_to_read, file, how))


def _copy(file: Path, stack: ExitStack) -> Database:
    """Return a copy, up to date, with what was not yet written into the file."""
    try:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="autoprune-")))
        for path in (file, file.with_name(f"{file.name}-wal")):
            if path.exists():
                shutil.copyfile(path, folder / path.name)
    except OSError as err:
        raise OutputError(
            f"The database file {str(file)!r} cannot be copied, to read it: {err.strerror}. Mend "
            "the permissions, or make room in the folder for temporary files."
        ) from err
    _state(folder / file.name)
    return Database.open(sqlite_url(folder / file.name))
