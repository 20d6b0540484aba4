"""What a database holds at some moment, read past the code that is tested."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, create_engine, inspect, text

from benchmarks.faults.journal import Key, Row

_FINISHED = ("scored", "recovered")  # outcomes of evaluations that came to their end
_EVALUATIONS = text(
    "SELECT policy_fp, evaluator_fp, id, outcome, loss, quality FROM ap_evaluation "
    "WHERE run_id IS NOT NULL"
)
_RUNNING = text("SELECT COUNT(*) FROM trials WHERE state = 'RUNNING'")


def evaluations(place: str | Path) -> dict[Key, Row]:
    """Return the finished evaluations of the runs in a database.

    Args:
        place: URL of a server, or a SQLite file, which may not be there yet.
    """
    with _connected(place) as connection:
        if connection is None or not inspect(connection).has_table("ap_evaluation"):
            return {}
        found = connection.execute(_EVALUATIONS)
        return {(row[0], row[1]): Row(*row[2:]) for row in found if row[3] in _FINISHED}


def running(place: str | Path) -> int:
    """Return how many trials a database has that never came to their end; see `evaluations`."""
    with _connected(place) as connection:
        if connection is None or not inspect(connection).has_table("trials"):
            return 0
        return int(connection.execute(_RUNNING).scalar_one())


@contextmanager
def _connected(place: str | Path) -> Iterator[Connection | None]:
    """Connect to a server, or to a copy of a file: to read the file itself would mend it."""
    with TemporaryDirectory() as folder:
        url = str(place)
        if isinstance(place, Path):
            for file in place.parent.glob(f"{place.name}*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, folder)
            url = f"sqlite:///{folder}/{place.name}"
            if not Path(folder, place.name).exists():
                yield None
                return
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
