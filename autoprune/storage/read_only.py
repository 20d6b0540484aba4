"""A run's database for those who only read it, also where nothing may be written."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from autoprune.errors import OutputError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url


@contextmanager
def opened_to_read(file: Path) -> Iterator[Database]:
    """Open a run's SQLite file to read; a copy of it where nothing may be written.

    SQLite writes beside a file even to read it, and an older one is brought up to date.

    Raises:
        ConfigError: If a newer autoprune wrote it.
        OutputError: If it cannot be read.
    """
    with ExitStack() as stack:
        try:
            database = Database.open(sqlite_url(file))
        except OutputError as problem:
            if all(os.access(path, os.W_OK) for path in (file, file.parent)):
                raise
            database = _copy(file, stack, problem)
        yield stack.enter_context(closing(database))


def _copy(file: Path, stack: ExitStack, problem: OutputError) -> Database:
    """Return a copy with what was not yet written into it; raise the first problem without one."""
    try:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="autoprune-")))
        for path in (file, file.with_name(f"{file.name}-wal")):
            if path.exists():
                shutil.copyfile(path, folder / path.name)
        return Database.open(sqlite_url(folder / file.name))
    except (OSError, OutputError):
        raise problem from None
