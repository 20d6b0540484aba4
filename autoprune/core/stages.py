"""What an evaluation found on its way: kept, since later ones are compared with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

MOST_VALUES = 64  # values of a stage: a test gains little from more, and all are kept


@dataclass(frozen=True, slots=True)
class Stage:
    """A measurement after some of the training, on some of the search split; lower is better.

    Args:
        steps: Training steps so far.
        samples: Samples measured.
        value: The score over them.
        values: At most `MOST_VALUES`, of parts of the split in its order, to 6 digits. Each is
            weighted by the samples of its part, so that their mean is ``value``.
        quality: The task's metric over the samples, higher is better.
    """

    steps: int
    samples: int
    value: float
    values: tuple[float, ...]
    quality: float | None = None

    @classmethod
    def of(
        cls,
        steps: int,
        means: Sequence[float],
        counts: Sequence[int],
        value: float,
        quality: float,
    ) -> "Stage":
        """Return the stage of parts of the split with these means and numbers of samples."""
        samples, parts = sum(counts), min(len(counts), MOST_VALUES)
        sums = np.multiply(means, counts)
        starts = np.arange(parts) * len(counts) // parts
        shares = np.add.reduceat(sums, starts) * parts / samples
        values = tuple(float(f"{share:.6g}") for share in shares)
        return cls(steps, samples, value, values, quality)

    @property
    def place(self) -> tuple[int, int]:
        """What two stages have in common whose batches are the same."""
        return self.steps, self.samples

    @property
    def rank(self) -> tuple[float, float]:
        """What sorts the best first among stages of finalists: quality, then value."""
        assert self.quality is not None
        return rank_of(self.quality, self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "steps": self.steps,
            "samples": self.samples,
            "value": self.value,
            "values": list(self.values),
            "quality": self.quality,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Stage":
        """Return what `to_dict` was called on."""
        return cls(**{**stored, "values": tuple(stored["values"])})


def rank_of(quality: float | None, value: float | None) -> tuple[float, float]:
    """Return what sorts the best finalist first: its quality decides, then its loss.

    Args:
        quality: On the search split; None ranks last.
        value: The loss there, likewise.
    """
    return (inf if quality is None else -quality, inf if value is None else value)
