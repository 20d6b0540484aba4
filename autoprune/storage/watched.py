"""A database that is looked at while others may work on it: nothing in it is ever changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, inspect, select

from autoprune.core.policy import Policy
from autoprune.core.secrets import redact
from autoprune.errors import ConfigError
from autoprune.storage.database import Database
from autoprune.storage.engine import parse_url
from autoprune.storage.migrate import state_of
from autoprune.storage.models import EvaluationRow
from autoprune.storage.own_trials import OwnTrials
from autoprune.storage.patience import patient
from autoprune.storage.quick import QuickStorage
from autoprune.storage.reader import reading_options, stored_studies
from autoprune.storage.records import Evaluation
from autoprune.storage.study import readable_study


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A database that is open to look at.

    Args:
        studies: Optuna's studies in it.
        runs: Runs and what is known of them; None where those tables are missing or not of this
            autoprune.
    """

    studies: OwnTrials
    runs: Database | None


@contextmanager
def watched(url: str) -> Iterator[Watched]:
    """Open a database to look at: the database itself refuses whatever would change it.

    Args:
        url: Database URL.

    Raises:
        ConfigError: If the URL cannot be read or used, or there are no studies of this Optuna.
        InfrastructureError: If a server cannot be reached.
        OutputError: If a SQLite file cannot be read.
    """
    parsed = parse_url(url)
    options = reading_options(parsed)
    with readable_study(url):
        engine = create_engine(parsed, **options)
        try:
            if not inspect(engine).has_table("studies"):
                raise ConfigError(
                    f"There are no Optuna studies in {redact(url)}. A search makes one when it "
                    "begins to score policies: look again then, or name another database."
                )
            storage = _storage(url, options)
            try:
                runs = Database(engine) if state_of(engine) == "current" else None
                yield Watched(studies=OwnTrials(storage), runs=runs)
            finally:
                storage.engine.dispose()
        finally:
            engine.dispose()


@patient
def evaluations_that(
    database: Database, run_id: int, outcomes: tuple[str, ...]
) -> list[Evaluation]:
    """Return what a run stored with outcomes that begin in some ways, without its stages.

    Args:
        database: Where the run is.
        run_id: The run.
        outcomes: How the outcomes may begin.
    """
    row = EvaluationRow
    columns = (row.policy, row.outcome, row.loss, row.quality, row.score)
    costs = (row.sample_forwards, row.seconds, row.weights, row.weights_sha256)
    query = select(*columns, *costs).filter_by(run_id=run_id).order_by(row.id)
    with database.reading() as session:
        found = [one._mapping for one in session.execute(query)]
        return [
            Evaluation(**{**one, "policy": Policy.from_dict(one["policy"])})
            for one in found
            if one["outcome"].startswith(outcomes)
        ]


def _storage(url: str, options: dict[str, Any]) -> QuickStorage:
    storage = stored_studies(url, options)
    here, needed = storage.get_current_version(), storage.get_head_version()
    if here != needed:
        storage.engine.dispose()
        raise ConfigError(
            f"Optuna's tables in {redact(url)} are of version {here}, and this Optuna needs "
            f"{needed}. Nothing was changed. Look with the Optuna that wrote them, or run optuna "
            "storage upgrade --storage URL once no search works there."
        )
    return storage
