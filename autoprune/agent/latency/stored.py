"""What the database that runs share holds of latencies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoprune.core.target import Target
from autoprune.cost.latency.device import this_device
from autoprune.errors import ConfigError
from autoprune.storage.database import Database
from autoprune.storage.latencies import Latencies, devices, measured_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLatencies:
    """What is stored of one device and target.

    Args:
        target: The target.
        fingerprint: Tells the device apart.
        facts: What the device is, by name.
        measurements: How many latencies are stored, of single layers and of whole models.
        this_device: Whether the target would be measured on this device here and now.
    """

    target: str
    fingerprint: str
    facts: Mapping[str, str]
    measurements: int
    this_device: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def stored_latencies(database: Database) -> list[StoredLatencies]:
    """Return what is stored, the oldest device first."""
    counts, known = measured_targets(database), devices(database)
    here = {target: _here(target) for target in {target for _, target in counts}}
    return [
        StoredLatencies(
            target=target,
            fingerprint=fingerprint,
            facts=dict(facts),
            measurements=count,
            this_device=here[target] == fingerprint,
        )
        for fingerprint, facts in known.items()
        for (device, target), count in sorted(counts.items())
        if device == fingerprint
    ]


def forget_latencies(database: Database, target: Target) -> int:
    """Delete what is stored of this device and a target, and return how much it was.

    Raises:
        ConfigError: If the target cannot be measured here.
    """
    return Latencies(database, this_device(target).facts, target).forget()


def _here(target: str) -> str | None:
    try:
        return this_device(Target.parse(target)).fingerprint
    except ConfigError:  # what it needs is not here, or a newer autoprune stored it
        return None
