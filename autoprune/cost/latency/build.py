"""Builds the tables of a target: measures where they may be most wrong until they are not."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np

from autoprune.core.target import Target
from autoprune.cost.latency.grid import Gap, Grid
from autoprune.cost.latency.layers import Layer, Sizes
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes import Runtime


class Store(Protocol):
    """Where measurements of one device and target are kept."""

    def known(self, layer: str) -> dict[Sizes, float]:
        """Return seconds by sizes of what was measured of a layer."""
        ...

    def add(self, layer: str, sizes: Sequence[int], latency: Timing) -> None:
        """Keep a measurement."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the tables are.

    Args:
        measured: Points that were measured in this run.
        reused: Points that were known before.
        error: Share of the layers' time by which the tables are expected to be wrong.
        seconds: Since the start.
        open: Gaps in which nothing was measured yet.
        busy: Points whose times varied so much that the device must have done something else.
    """

    measured: int
    reused: int
    error: float
    seconds: float
    open: int
    busy: int


@dataclass
class TableBuilder:
    """Measures layers alone, over the sizes that policies may give them.

    Args:
        runtime: What runs them.
        target: How.
        store: Knows what was measured before, and keeps what is measured.
        told: Told after every line that was measured.
        clock: Seconds of a clock that only goes forwards.
    """

    runtime: Runtime
    target: Target
    store: Store
    told: Callable[[Standing], object] = lambda standing: None
    clock: Callable[[], float] = perf_counter
    _count: Counter[str] = field(default_factory=Counter)

    def build(
        self,
        layers: Sequence[Layer],
        candidates: Mapping[str, Sequence[Sequence[int]]],
        *,
        error: float,
        limit_s: float,
    ) -> tuple[dict[str, Grid], Standing]:
        """Return tables by the key of their layers, and how good they are.

        Args:
            layers: Every layer of a model.
            candidates: Sizes that each variable may take, by key.
            error: Share of the layers' time by which the tables may be wrong.
            limit_s: Seconds after which it stops all the same.
        """
        start = self.clock()
        self._count = Counter()
        uses = Counter(layer.key for layer in layers)
        by_key = {layer.key: layer for layer in layers}
        grids: dict[str, Grid] = {}
        for key, layer in by_key.items():
            grid = Grid(candidates[key], self.store.known(key))
            if self._measure(layer, grid, list(grid.corners())) is not None:
                grids[key] = grid
                self.told(self._standing(grids, uses, start))
        while True:
            standing = self._standing(grids, uses, start)
            self.told(standing)
            if standing.error <= error or standing.seconds >= limit_s:
                for grid in grids.values():
                    grid.take_known()
                return grids, standing
            key, gap = _worst(grids, uses)
            line = grids[key].split(gap)
            crossings = grids[key].crossings(gap.axis, line)
            found = self._measure(by_key[key], grids[key], crossings)
            grids[key].add_line(gap, line, found or {})

    def _measure(
        self, layer: Layer, grid: Grid, points: Sequence[Sizes]
    ) -> dict[Sizes, float] | None:
        """Return and keep the seconds of points; None if the layer cannot be run alone."""
        found: dict[Sizes, float] = {}
        for sizes in points:
            if sizes in grid.seconds:
                self._count["reused"] += 1
                found[sizes] = grid.seconds[sizes]
                continue
            timing = self.runtime.time_call(layer.call(sizes), self.target)
            if timing is None:
                return None
            self.store.add(layer.key, sizes, timing)
            self._count["measured"] += 1
            self._count["busy"] += timing.busy
            found[sizes] = grid.seconds[sizes] = timing.seconds
        return found

    def _standing(self, grids: Mapping[str, Grid], uses: Counter[str], start: float) -> Standing:
        whole = sum(uses[key] * grid.most for key, grid in grids.items())
        errors = [uses[key] * grid.error for key, grid in grids.items()]
        untried = [gap for grid in grids.values() for gap in grid.gaps if math.isinf(gap.error)]
        # What is wrong in one table says nothing about the others: squares add up.
        return Standing(
            measured=self._count["measured"],
            reused=self._count["reused"],
            error=float(np.sqrt(np.square(errors).sum())) / whole if whole else 0.0,
            seconds=self.clock() - start,
            open=len(untried),
            busy=self._count["busy"],
        )


def _worst(grids: Mapping[str, Grid], uses: Counter[str]) -> tuple[str, Gap]:
    """Return the gap that makes the tables most wrong, those never looked into first."""
    gaps = [(key, gap) for key, grid in grids.items() for gap in grid.gaps]

    def harm(entry: tuple[str, Gap]) -> tuple[float, float, str]:
        key, gap = entry
        return uses[key] * gap.error, uses[key] * grids[key].most, key

    return max(gaps, key=harm)
