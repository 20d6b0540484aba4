"""Which methods and levels of a unit are probed."""

from collections.abc import Mapping

import numpy as np

from autoprune.core.probing import Levels
from autoprune.core.structure import split_method
from autoprune.space.schema import UnitSpace

Point = tuple[str, int]  # method, level
QUICK = 4  # levels that `quick` looks at with the best method, the middle one among them


def due(space: UnitSpace, levels: Levels, known: Mapping[Point, float]) -> list[Point]:
    """Return what is to be probed next of a unit; nothing if its table is complete.

    Args:
        space: What may be chosen for the unit.
        levels: ``full`` probes every method at every level; ``quick`` every method at the middle
            level, then the best of them at `QUICK` levels spread over all.
        known: Loss given up where it was probed; infinite where that failed.
    """
    able = free(space)
    once = [(method, 1) for method in fixed(space)]  # its one sparsity is the same at every level
    if levels == "full":
        wanted = once + [(method, at) for method in able for at in range(1, space.levels)]
        return [point for point in wanted if point not in known]
    middle = space.levels // 2
    first = [p for p in once + [(method, middle) for method in able] if p not in known]
    if first or not able:
        return first
    best = min(able, key=lambda method: known[method, middle])
    return [(best, at) for at in _spread(space) if (best, at) not in known]


def expected(space: UnitSpace, levels: Levels) -> int:
    """Return how many probes a unit takes in all."""
    once, able = len(fixed(space)), len(free(space))
    if levels == "full":
        return once + able * (space.levels - 1)
    return once + able + (len(_spread(space)) - 1) * (able > 0)


def fixed(space: UnitSpace) -> list[str]:
    """Return the methods that have one sparsity at whatever level."""
    return [m for m in space.methods if split_method(m)[0].sparsity is not None]


def free(space: UnitSpace) -> list[str]:
    """Return the methods whose sparsity is that of the level."""
    return [m for m in space.methods if split_method(m)[0].sparsity is None]


def _spread(space: UnitSpace) -> list[int]:
    """Return the levels of `quick`: the last and the middle one among them, never level 0."""
    spread = np.linspace(0, space.levels - 1, QUICK + 1).round().astype(int)
    return sorted({*spread.tolist(), space.levels // 2} - {0})
