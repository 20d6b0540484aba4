"""The runs of a database: what each keeps, what it came to, and what it leaves behind."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from autoprune.storage.database import Database, removed_run
from autoprune.storage.models import EvaluationRow, RunRow
from autoprune.storage.patience import patient
from autoprune.storage.records import EvaluationKey, Run
from autoprune.storage.rows import key_columns, to_key, to_run

PLACE = "place"  # what a run keeps of where it is worked on


class Runs:
    """The runs of a database.

    To begin or keep something of a run that somebody removed raises `ElsewhereError`; what it came
    to is told to nobody then.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @patient
    def all(self) -> list[Run]:
        """Return the runs, oldest first."""
        with self._database.reading() as session:
            return [to_run(row) for row in session.scalars(select(RunRow).order_by(RunRow.id))]

    @patient
    def keys(self, run_id: int) -> list[EvaluationKey]:
        """Return the keys of what a run stored."""
        with self._database.reading() as session:
            rows = session.scalars(select(EvaluationRow).filter_by(run_id=run_id))
            return [to_key(row) for row in rows]

    @patient
    def forget(self, keys: Iterable[EvaluationKey]) -> int:
        """Remove evaluations, whichever run stored them; return how many there were."""
        with self._database.transaction() as session:
            gone = [
                session.execute(
                    delete(EvaluationRow).filter_by(**key_columns(key)).returning(EvaluationRow.id)
                ).all()
                for key in keys
            ]
        return sum(map(len, gone))

    @patient
    def begin(self, run_id: int, config: Mapping[str, Any], folder: str) -> None:
        """Let somebody work on a run, also on one that was finished, from now on.

        Args:
            run_id: Its number.
            config: Its settings; there may be more trials now.
            folder: Where its result will be.
        """
        with self._database.transaction() as session:
            row = _locked(session, run_id)
            row.config, row.outcome = dict(config), None
            row.kept = row.kept | {PLACE: {"folder": folder}}

    @patient
    def keep(self, run_id: int, name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep something of a run, and return what is kept: the first under this name stays."""
        with self._database.transaction() as session:
            row = _locked(session, run_id)
            row.kept = {name: dict(content)} | row.kept
            return dict(row.kept[name])

    @patient
    def add_last(self, run_id: int, name: str, content: Mapping[str, Any]) -> None:
        """Put something at the end of a list that a run keeps; what is alike moves there."""
        told = dict(content)
        with self._database.transaction() as session:
            row = _locked(session, run_id)
            before = [one for one in row.kept.get(name, ()) if one != told]
            row.kept = row.kept | {name: [*before, told]}

    @patient
    def finish(self, run_id: int, outcome: Mapping[str, Any]) -> None:
        """Keep what a run came to, plain JSON types; the moment is added."""
        told = {**outcome, "finished_at": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._database.transaction() as session:
            session.execute(update(RunRow).filter_by(id=run_id).values(outcome=told))

    @patient
    def remove(self, run_id: int) -> None:
        """Remove a run with its ledger and checkpoints; its evaluations stay, for later runs."""
        with self._database.transaction() as session:
            session.execute(delete(RunRow).filter_by(id=run_id))


def _locked(session: Session, run_id: int) -> RunRow:
    """Return the row of a run, which nobody else changes until the transaction ends.

    It is written as it is: SQLite lets others change a row that was only read.
    """
    same = update(RunRow).filter_by(id=run_id).values(name=RunRow.name).returning(RunRow)
    row = session.scalar(same)
    if row is None:
        raise removed_run()
    return row
