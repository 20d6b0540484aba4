"""A grid of measured sizes, and what lies between them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from autoprune.core.arrays import Floats
from autoprune.cost.latency.layers import Sizes
from autoprune.surgery.ids import Ids


@dataclass(frozen=True, slots=True)
class Gap:
    """Sizes between two neighbouring lines of a grid, and how wrong it may be there.

    Args:
        axis: Number of the variable.
        low: The line below.
        high: The line above.
        error: Seconds, as far as was seen; infinite where nothing was measured inside yet.
    """

    axis: int
    low: int
    high: int
    error: float


@dataclass(slots=True)
class Grid:
    """Latencies of one layer over its variables, multilinear between lines that were measured.

    Args:
        candidates: Sizes that may be asked for, by variable; lines are taken from them.
        seconds: What was measured, by sizes.
    """

    candidates: Sequence[Sequence[int]]
    seconds: dict[Sizes, float] = field(default_factory=dict)
    lines: list[list[int]] = field(init=False)
    gaps: list[Gap] = field(init=False)
    _found: dict[tuple[tuple[int, ...], ...], RegularGridInterpolator] = field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        self.candidates = [sorted(set(sizes)) for sizes in self.candidates]
        self.lines = [[sizes[0], sizes[-1]][: len(sizes)] for sizes in self.candidates]
        self.gaps = [
            Gap(axis, sizes[0], sizes[-1], float("inf"))
            for axis, sizes in enumerate(self.candidates)
            if len(sizes) > 2
        ]

    def take_known(self) -> None:
        """Take every line whose crossings are all known: an earlier build may have been finer."""
        for axis, sizes in enumerate(self.candidates):
            new = set(sizes) - set(self.lines[axis])
            known = [n for n in new if all(at in self.seconds for at in self.crossings(axis, n))]
            self.lines[axis] = sorted([*self.lines[axis], *known])

    def corners(self) -> Iterator[Sizes]:
        """Yield the crossings of the outermost lines."""
        return product(*(dict.fromkeys((lines[0], lines[-1])) for lines in self.lines))

    @property
    def most(self) -> float:
        """Seconds at the costliest corner; more may be known, for wider models."""
        return max(self.seconds[sizes] for sizes in self.corners())

    @property
    def error(self) -> float:
        """Largest error in seconds that is to be expected anywhere; 0 if all was measured."""
        return max((gap.error for gap in self.gaps), default=0.0)

    def split(self, gap: Gap) -> int:
        """Return the line in the middle of a gap."""
        inside = [size for size in self.candidates[gap.axis] if gap.low < size < gap.high]
        return min(inside, key=lambda size: (abs(size - (gap.low + gap.high) / 2), size))

    def crossings(self, axis: int, line: int) -> list[Sizes]:
        """Return the crossings of a new line with those there are."""
        return list(product(*[*self.lines[:axis], [line], *self.lines[axis + 1 :]]))

    def add_line(self, gap: Gap, line: int, measured: Mapping[Sizes, float]) -> None:
        """Add a line that splits ``gap``, and note how wrong the grid was there.

        A gap in which nothing can be measured is given up.
        """
        if not measured:
            self.gaps.remove(gap)
            return
        expected = self.at(np.array(list(measured), np.int64))
        wrong = float(np.abs(expected - np.array(list(measured.values()))).mean())
        self.seconds |= measured
        self.lines[gap.axis] = sorted([*self.lines[gap.axis], line])
        self.gaps.remove(gap)
        for low, high in pairwise((gap.low, line, gap.high)):
            if any(low < size < high for size in self.candidates[gap.axis]):
                self.gaps.append(Gap(gap.axis, low, high, wrong))

    def at(self, sizes: Ids) -> Floats:
        """Return seconds for rows of sizes, ``rows x variables``; linear beyond the lines."""
        wide = [axis for axis, lines in enumerate(self.lines) if len(lines) > 1]
        if not wide:
            return np.full(len(sizes), self.seconds[tuple(lines[0] for lines in self.lines)])
        found: Floats = self._between(wide)(sizes[:, wide].astype(float))
        return found

    def _between(self, wide: Sequence[int]) -> RegularGridInterpolator:
        key = tuple(map(tuple, self.lines))
        if key not in self._found:
            values = np.array([self.seconds[at] for at in product(*self.lines)])
            self._found.clear()
            self._found[key] = RegularGridInterpolator(
                [np.array(self.lines[axis], float) for axis in wide],
                values.reshape([len(self.lines[axis]) for axis in wide]),
                bounds_error=False,
                fill_value=None,
            )
        return self._found[key]
