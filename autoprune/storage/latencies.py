"""Measured layers in a database: a shape once measured on a device serves every model."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import index
from typing import Protocol

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from autoprune.core.fingerprint import fingerprint
from autoprune.core.target import Target
from autoprune.storage.database import Database
from autoprune.storage.models import DeviceRow, LatencyRow
from autoprune.storage.patience import patient
from autoprune.storage.records import Latency

Sizes = tuple[int, ...]


class Interval(Protocol):
    """A median latency and its 95% interval, in seconds."""

    @property
    def seconds(self) -> float:
        """The median."""

    @property
    def low(self) -> float:
        """Lower end of the interval."""

    @property
    def high(self) -> float:
        """Upper end of the interval."""


class Latencies:
    """What was measured on one device with one target; safe to share like the database.

    Args:
        database: Where it is kept.
        facts: What identifies the device; its fingerprint is made of them.
        target: The target.
    """

    def __init__(self, database: Database, facts: Mapping[str, str], target: Target) -> None:
        self._database = database
        self._facts = dict(facts)
        self.device_fp = fingerprint(self._facts)
        self.target = target

    def known(self, layer: str) -> dict[Sizes, float]:
        """Return the seconds of every stored measurement of ``layer`` by its sizes.

        Args:
            layer: Any text that names the kind of layer.
        """
        return {sizes: latency.seconds for sizes, latency in self.measured(layer).items()}

    @patient
    def measured(self, layer: str) -> dict[Sizes, Latency]:
        """Return every stored measurement of ``layer`` with its interval, by its sizes."""
        query = select(LatencyRow).filter_by(**self._key(layer)).order_by(LatencyRow.id)
        with self._database.reading() as session:
            return {
                tuple(json.loads(row.sizes)): Latency(row.seconds, row.low, row.high)
                for row in session.scalars(query)
            }

    @patient
    def add(self, layer: str, sizes: Sequence[int], latency: Interval) -> None:
        """Store a latency; of two for the same sizes the one with the narrower interval stays.

        So it does not matter which of two processes that measured the same comes first.

        Raises:
            ValueError: If a size is negative.
            TypeError: If a size is no whole number.
        """
        self._add_device()
        key = self._key(layer) | {"sizes": _text(sizes)}
        values = {
            "seconds": float(latency.seconds),
            "low": float(latency.low),
            "high": float(latency.high),
            "created_at": datetime.now(UTC),
        }
        try:
            with self._database.transaction() as session:
                session.add(LatencyRow(**key, **values))
        except IntegrityError:
            wider = LatencyRow.high - LatencyRow.low > latency.high - latency.low
            with self._database.transaction() as session:
                session.execute(update(LatencyRow).filter_by(**key).where(wider).values(values))

    @patient
    def forget(self) -> int:
        """Delete everything of this device and target, and return how much that was."""
        with self._database.transaction() as session:
            key = {"device_fp": self.device_fp, "target": str(self.target)}
            rows = session.scalars(delete(LatencyRow).filter_by(**key).returning(LatencyRow.id))
            return len(rows.all())

    def _key(self, layer: str) -> dict[str, str]:
        return {"device_fp": self.device_fp, "target": str(self.target), "layer": layer}

    def _add_device(self) -> None:
        with self._database.transaction() as session:
            if session.get(DeviceRow, self.device_fp) is not None:
                return
        row = DeviceRow(
            fingerprint=self.device_fp, facts=self._facts, created_at=datetime.now(UTC)
        )
        try:
            with self._database.transaction() as session:
                session.add(row)
        except IntegrityError:
            pass  # another process was first


@patient
def devices(database: Database) -> dict[str, Mapping[str, str]]:
    """Return the facts of every device that something was measured on, by fingerprint."""
    with database.reading() as session:
        rows = session.scalars(select(DeviceRow).order_by(DeviceRow.created_at))
        return {row.fingerprint: row.facts for row in rows}


@patient
def measured_targets(database: Database) -> dict[tuple[str, str], int]:
    """Return how many latencies are stored for each fingerprint and target text."""
    counted = func.count(LatencyRow.id)
    query = select(LatencyRow.device_fp, LatencyRow.target, counted)
    with database.reading() as session:
        rows = session.execute(query.group_by(LatencyRow.device_fp, LatencyRow.target))
        return {(device, target): count for device, target, count in rows}


def _text(sizes: Sequence[int]) -> str:
    """Return the one way in which ``sizes`` is written."""
    numbers = [index(size) for size in sizes]
    if min(numbers, default=0) < 0:
        raise ValueError(f"Sizes are whole numbers of at least 0. Got {sizes!r}.")
    return json.dumps(numbers, separators=(",", ":"))
