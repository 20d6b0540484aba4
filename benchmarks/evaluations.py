"""Evaluations of a scorer, in a database of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url


@contextmanager
def evaluations_of(scorer: Scorer) -> Iterator[Evaluations]:
    """Yield what scores policies by a database that is gone afterwards."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a.db"
        with Database.open(sqlite_url(file)) as database:
            yield Evaluations(
                database=database,
                run_id=database.start_run("benchmark", {}, "m", "d"),
                scorer=scorer,
                model_fp="m",
                data_fp="d",
                folder=file.parent,
            )
