"""The sensitivity table: what each unit gives up when it alone is cut."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autoprune.core.arrays import Floats
from autoprune.core.yardstick import Yardstick


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One probe: a unit cut alone.

    Args:
        unit: Name of the unit.
        kind: Its kind.
        atoms: Its atoms in the dense model.
        method: How it was cut.
        level: The level of its space.
        sparsity: Share of its atoms that went.
        loss: Mean loss; None if the probe failed.
        quality: The task's metric; None if the probe failed.
        given_up: Loss given up against the dense model; None if the probe failed.
        stderr: Standard error of ``given_up``.
        reason: Why the probe failed, if it did.
    """

    unit: str
    kind: str
    atoms: int
    method: str
    level: int
    sparsity: float
    loss: float | None
    quality: float | None
    given_up: float | None
    stderr: float
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Loss given up by unit, method and level, each unit cut alone and not trained.

    Args:
        dense_loss: Mean loss of the dense model on the same samples.
        errors: Loss given up by unit, by method, at each level: 0 at level 0, and it never falls
            with the level; shape ``levels``.
        noise: Standard error of each of them, in the same form.
        sample_forwards: What it cost, in forwards of one sample by the dense model; 0 if all
            was known.
        seconds: What it cost in seconds of all workers together; 0 if all was known.
        dense_quality: The dense model's metric on the same samples.
        metric: Name of the metric.
        higher_is_better: Whether it is, as it is shown; qualities are minus the metric if not.
        is_share: Whether it is a share, shown in percent.
        samples: Samples of the search split that were measured.
        entries: What was measured, in the order in which the units run.
        probed: How many of them were measured now, and not known before.
        sparsities: Share of the atoms that each level removes, by unit.
    """

    dense_loss: float
    errors: Mapping[str, Mapping[str, Floats]]
    noise: Mapping[str, Mapping[str, Floats]]
    sample_forwards: float = 0.0
    seconds: float = 0.0
    dense_quality: float = 0.0
    metric: str = ""
    higher_is_better: bool = True
    is_share: bool = True
    samples: int = 0
    entries: Sequence[Entry] = field(default=())
    probed: int = 0
    sparsities: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def yardstick(self) -> Yardstick:
        """How its qualities are to be read."""
        return Yardstick.of(vars(self))

    def best_method(self, unit: str) -> str:
        """Return the method that gives up least over all levels of a unit."""
        own = self.errors[unit]
        return min(sorted(own), key=lambda method: float(own[method].sum()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "is_share": self.is_share,
            "samples": self.samples,
            "dense_loss": self.dense_loss,
            "dense_quality": self.dense_quality,
            "sample_forwards": self.sample_forwards,
            "seconds": self.seconds,
            "probed": self.probed,
            "sparsities": {unit: list(own) for unit, own in self.sparsities.items()},
            "errors": _lists(self.errors),
            "noise": _lists(self.noise),
            "entries": [asdict(entry) for entry in self.entries],
        }


def _lists(arrays: Mapping[str, Mapping[str, Floats]]) -> dict[str, dict[str, list[float]]]:
    return {
        unit: {method: array.tolist() for method, array in own.items()}
        for unit, own in arrays.items()
    }
