"""Probes in a database: what a unit gives up is measured once for a model and its data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from autoprune.core.policy import Policy
from autoprune.storage.database import Database
from autoprune.storage.models import SensitivityRow
from autoprune.storage.patience import patient


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProbe:
    """What a policy was found to give without recovery.

    Args:
        loss: Mean loss; None if the probe failed.
        quality: The task's metric; None if the probe failed.
        stderr: Standard error of the loss's difference to the dense model's.
        samples: Samples it was measured on.
        reason: Why it failed, if it did.
        sample_forwards: What it cost, in forwards of one sample by the dense model.
        seconds: What it cost, in seconds.
    """

    loss: float | None
    quality: float | None
    stderr: float
    samples: int
    reason: str | None
    sample_forwards: float
    seconds: float


class Sensitivities:
    """The probes of one model on its data, made in one way; safe to share like the database.

    Args:
        database: Where they are kept.
        model_fp: Fingerprint of the dense model.
        data_fp: Fingerprint of the data.
        probe_fp: Fingerprint of the way of probing: its version, settings and seed.
    """

    def __init__(self, database: Database, model_fp: str, data_fp: str, probe_fp: str) -> None:
        self._database = database
        self._key = {"model_fp": model_fp, "data_fp": data_fp, "probe_fp": probe_fp}

    @patient
    def known(self) -> Mapping[str, StoredProbe]:
        """Return every stored probe by the fingerprint of its policy."""
        query = select(SensitivityRow).filter_by(**self._key).order_by(SensitivityRow.id)
        with self._database.reading() as session:
            return {row.policy_fp: _probe(row) for row in session.scalars(query)}

    @patient
    def add(self, policy: Policy, probe: StoredProbe) -> None:
        """Store a probe; what another process stored before stays."""
        row = SensitivityRow(
            **self._key,
            policy_fp=policy.fingerprint,
            policy=policy.to_dict(),
            **{name: getattr(probe, name) for name in StoredProbe.__slots__},
            created_at=datetime.now(UTC),
        )
        try:
            with self._database.transaction() as session:
                session.add(row)
        except IntegrityError:
            pass  # another process was first: the same settings give the same numbers


def _probe(row: SensitivityRow) -> StoredProbe:
    return StoredProbe(**{name: getattr(row, name) for name in StoredProbe.__slots__})
