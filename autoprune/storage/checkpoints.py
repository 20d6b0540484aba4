"""Where progressive runs stand: each row is a state, written with what was learnt on the way."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from autoprune.core.ledger import LedgerEntry
from autoprune.storage.database import Database
from autoprune.storage.ledger import add_once
from autoprune.storage.models import CheckpointRow
from autoprune.storage.patience import patient


class Checkpoints:
    """States of one progressive run of a search.

    Args:
        database: Where they are kept.
        run_id: The search.
        name: What tells its progressive runs apart.
    """

    def __init__(self, database: Database, run_id: int, name: str) -> None:
        self._database, self._run, self._name = database, run_id, name

    @patient
    def add(self, state: Mapping[str, Any], entries: Iterable[LedgerEntry] = ()) -> None:
        """Add a state and entries of the ledger, all or nothing.

        Entries on the same policy and alternative that are there already stay.

        Args:
            state: Plain JSON types.
            entries: What was learnt since the last state.
        """
        with self._database.of_run(self._run) as session:
            session.add(
                CheckpointRow(
                    run_id=self._run,
                    name=self._name,
                    state=dict(state),
                    created_at=datetime.now(UTC),
                )
            )
            for entry in entries:
                add_once(session, self._run, entry)

    @staticmethod
    @patient
    def spent(database: Database, run_id: int, what: str) -> float:
        """Return the sum of a number in the states of all progressive runs of a search.

        Of each run the highest counts.

        Args:
            database: Where they are kept.
            run_id: The search.
            what: Name of the number.
        """
        query = select(CheckpointRow.name, CheckpointRow.state).filter_by(run_id=run_id)
        most: dict[str, float] = {}
        with database.reading() as session:
            for name, state in session.execute(query):
                most[name] = max(float(state[what]), most.get(name, 0.0))
        return sum(most.values())

    @patient
    def latest(self) -> list[dict[str, Any]]:
        """Return the states, the last one first."""
        query = select(CheckpointRow).filter_by(run_id=self._run, name=self._name)
        with self._database.reading() as session:
            return [row.state for row in session.scalars(query.order_by(CheckpointRow.id.desc()))]
