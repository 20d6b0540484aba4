"""The sensitivity table: what each unit gives up when it alone is cut."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from autoprune.core.probing import Levels
from autoprune.core.structure import split_method
from autoprune.space.schema import UnitSpace

FloatArray = npt.NDArray[np.float64]
Point = tuple[str, int]  # method, level
QUICK = 4  # levels that `quick` looks at with the best method, the middle one among them
_LEAST_NOISE = 1e-6  # of a loss: so that no entry weighs infinitely much in a fit


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


@dataclass(frozen=True)
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
        samples: Samples of the search split that were measured.
        entries: What was measured, in the order in which the units run.
        probed: How many of them were measured now, and not known before.
        sparsities: Share of the atoms that each level removes, by unit.
    """

    dense_loss: float
    errors: Mapping[str, Mapping[str, FloatArray]]
    noise: Mapping[str, Mapping[str, FloatArray]]
    sample_forwards: float = 0.0
    seconds: float = 0.0
    dense_quality: float = 0.0
    metric: str = ""
    samples: int = 0
    entries: Sequence[Entry] = field(default=())
    probed: int = 0
    sparsities: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def best_method(self, unit: str) -> str:
        """Return the method that gives up least over all levels of a unit."""
        own = self.errors[unit]
        return min(sorted(own), key=lambda method: float(own[method].sum()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            **{"metric": self.metric, "samples": self.samples},
            **{"dense_loss": self.dense_loss, "dense_quality": self.dense_quality},
            **{"sample_forwards": self.sample_forwards, "seconds": self.seconds},
            "probed": self.probed,
            "sparsities": {unit: list(own) for unit, own in self.sparsities.items()},
            "errors": _lists(self.errors),
            "noise": _lists(self.noise),
            "entries": [asdict(entry) for entry in self.entries],
        }


def due(space: UnitSpace, levels: Levels, known: Mapping[Point, float]) -> list[Point]:
    """Return what is to be probed next of a unit; nothing if its table is complete.

    Args:
        space: What may be chosen for the unit.
        levels: ``full`` probes every method at every level; ``quick`` every method at the middle
            level, then the best of them at `QUICK` levels spread over all.
        known: Loss given up where it was probed; infinite where that failed.
    """
    fixed, free = _fixed(space), _free(space)
    once = [(method, 1) for method in fixed]  # its one sparsity is the same at every level
    if levels == "full":
        wanted = once + [(method, at) for method in free for at in range(1, space.levels)]
        return [point for point in wanted if point not in known]
    middle = space.levels // 2
    first = [p for p in once + [(method, middle) for method in free] if p not in known]
    if first or not free:
        return first
    best = min(free, key=lambda method: known[method, middle])
    return [(best, at) for at in _spread(space) if (best, at) not in known]


def expected(space: UnitSpace, levels: Levels) -> int:
    """Return how many probes a unit takes in all."""
    fixed, free = len(_fixed(space)), len(_free(space))
    if levels == "full":
        return fixed + free * (space.levels - 1)
    return fixed + free + (len(_spread(space)) - 1) * (free > 0)


def fit(
    space: UnitSpace, known: Mapping[Point, tuple[float | None, float]], failed: float
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return errors and noise of all levels by method: never falling, 0 at level 0.

    A method is fitted by isotonic regression, each probe weighed by its noise, and interpolated
    over the atoms removed. A method that was probed at one level where another was probed at
    more is taken to differ from the best of those in proportion to the atoms removed.

    Args:
        space: What may be chosen for the unit.
        known: Loss given up and its standard error, None for a probe that failed.
        failed: What a failed probe counts as.
    """
    gone = np.array([space.atoms - kept for kept in space.kept], np.float64)
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for (method, level), (error, stderr) in sorted(known.items()):
        value = (failed, failed) if error is None else (error, stderr)
        found.setdefault(method, {})[level] = value
    errors, noise = dict[str, FloatArray](), dict[str, FloatArray]()
    longest = max(len(own) for own in found.values())
    for method, own in found.items():
        if method in _fixed(space):
            errors[method] = np.where(gone > 0, max(own[1][0], 0.0), 0.0)
            noise[method] = np.where(gone > 0, own[1][1], 0.0)
        elif len(own) == longest or len(own) > 1:
            errors[method], noise[method] = _isotonic(gone, own)
    known_well = [m for m in errors if m not in _fixed(space)]
    for method, own in found.items():
        if method not in errors:
            (level, one) = next(iter(own.items()))
            best = min(known_well, key=lambda m: errors[m][level])
            share = gone / gone[level]
            more = max(one[0] - errors[best][level], 0.0) * share
            errors[method] = errors[best] + more
            noise[method] = np.hypot(noise[best], one[1] * share)
    return errors, noise


def failed_error(given_up: Sequence[float]) -> float:
    """Return what a failed probe counts as: twice the largest loss given up, 1 at least."""
    return max(1.0, 2 * max(given_up, default=0.0))


def _isotonic(
    gone: FloatArray, own: Mapping[int, tuple[float, float]]
) -> tuple[FloatArray, FloatArray]:
    levels = sorted(own)
    at = np.concatenate([[0.0], gone[levels]])
    values = np.array([own[level][0] for level in levels])
    stderr = np.array([own[level][1] for level in levels])
    weights = 1 / np.maximum(stderr, _LEAST_NOISE) ** 2
    rising = IsotonicRegression(y_min=0.0)
    fitted = rising.fit(at[1:], values, sample_weight=weights / weights.max()).predict(at[1:])
    errors = np.interp(gone, at, np.concatenate([[0.0], fitted]))
    return errors, np.interp(gone, at, np.concatenate([[0.0], stderr]))


def _fixed(space: UnitSpace) -> list[str]:
    return [m for m in space.methods if split_method(m)[0].sparsity is not None]


def _free(space: UnitSpace) -> list[str]:
    return [m for m in space.methods if split_method(m)[0].sparsity is None]


def _spread(space: UnitSpace) -> list[int]:
    """Return the levels of `quick`: the last and the middle one among them, never level 0."""
    spread = np.linspace(0, space.levels - 1, QUICK + 1).round().astype(int)
    return sorted({*spread.tolist(), space.levels // 2} - {0})


def _lists(arrays: Mapping[str, Mapping[str, FloatArray]]) -> dict[str, dict[str, list[float]]]:
    return {
        unit: {method: array.tolist() for method, array in own.items()}
        for unit, own in arrays.items()
    }
