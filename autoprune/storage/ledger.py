"""The ledger of a run in the database: entries are added, never changed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Policy
from autoprune.errors import ArtifactError
from autoprune.storage.database import Database
from autoprune.storage.models import LedgerRow
from autoprune.storage.patience import patient
from autoprune.storage.rows import as_float, as_mapping

_KEY = ("run_id", "policy_fp", "alternative_fp", "step")
_COSTS = ("costs_before", "costs_after")
_NUMBERS = (
    *("expected_regret", "score_before", "score_after", "quality_before", "quality_after"),
    *("p_value", "threshold", "sample_forwards"),
)


class Ledger:
    """What became of the decisions that a run examined.

    Args:
        database: Where it is kept.
        run_id: The run.
    """

    def __init__(self, database: Database, run_id: int) -> None:
        self._database, self._run = database, run_id

    @patient
    def add_all(self, entries: Sequence[LedgerEntry]) -> None:
        """Add entries; those on the same policy and alternative that are there already stay."""
        if not entries:
            return
        with self._database.of_run(self._run) as session:
            for entry in entries:
                add_once(session, self._run, entry)

    @patient
    def entries(self) -> list[LedgerEntry]:
        """Return all entries, oldest first.

        Raises:
            ArtifactError: If one has an outcome that this version does not know.
        """
        query = select(LedgerRow).filter_by(run_id=self._run).order_by(LedgerRow.id)
        with self._database.reading() as session:
            return [_entry(row) for row in session.scalars(query)]


def add_once(session: Session, run_id: int, entry: LedgerEntry) -> None:
    """Add an entry in a transaction, if there is none on its step, policy and alternative."""
    row = LedgerRow(
        run_id=run_id,
        policy_fp=entry.policy.fingerprint,
        alternative_fp=entry.alternative.fingerprint,
        units=list(entry.units),
        policy=entry.policy.to_dict(),
        alternative=entry.alternative.to_dict(),
        outcome=entry.outcome.name.lower(),
        **{name: dict(getattr(entry, name)) for name in _COSTS},
        **{name: getattr(entry, name) for name in (*_NUMBERS, "step")},
        created_at=datetime.now(UTC),
    )
    key = {name: getattr(row, name) for name in _KEY}
    same = select(LedgerRow.id).filter_by(**key)
    if session.scalar(same) is not None:
        return
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        if session.scalar(same) is None:  # nobody else added it meanwhile
            raise


def _entry(row: LedgerRow) -> LedgerEntry:
    try:
        outcome = Outcome[row.outcome.upper()]
    except KeyError:
        raise ArtifactError(
            f"The ledger holds the outcome {row.outcome!r}, which this version does not know. "
            f"Known are {', '.join(one.name.lower() for one in Outcome)}. Use the version of "
            "autoprune that wrote it, or a later one."
        ) from None
    return LedgerEntry(
        units=tuple(row.units),
        policy=Policy.from_dict(row.policy),
        alternative=Policy.from_dict(row.alternative),
        outcome=outcome,
        **_checked(row),
    )


def _checked(row: LedgerRow) -> dict[str, Any]:
    return {
        **{name: as_mapping(getattr(row, name)) for name in _COSTS},
        **{name: as_float(getattr(row, name)) for name in _NUMBERS},
        "step": int(row.step),
    }
