"""Candidates for the next proposal, all inside the budget."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoprune.agent.feasible.encoding import Encoding, Rows
from autoprune.agent.feasible.marginal import Marginal
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.feasible.rows import Feasible
from autoprune.core.arrays import Floats

_POSITIONS = 41  # fewer than for one projection: there are hundreds of candidates
_PAIRS = np.array([0, 1, 1, 2, 3])  # of units that are switched
_STEPS = np.array([1, 1, 1, 2, 2, 3])  # levels a switch moves a unit by


@dataclass(frozen=True)
class Pool(Feasible):
    """Draws candidates as rows of an `Encoding`.

    Args:
        projection: What is feasible.
        encoding: The form of rows.
        errors: What is given up, ``units x methods x levels``.
    """

    errors: Floats

    @classmethod
    def of(cls, projection: Projection, encoding: Encoding, errors: Floats | None) -> "Pool":
        """Make a pool; without errors the square of the share removed stands for them."""
        return cls(projection, encoding, plain_errors(encoding) if errors is None else errors)

    def allocated(self, around: Rows, weights: Floats) -> Rows:
        """Return the best allocation under each vector of coefficients.

        Costs are those around one row; the method of a unit is the one that gives up least.

        Args:
            around: A row near which the allocations are sought.
            weights: Coefficients of the units' errors, ``draws x units``.
        """
        levels, _ = self.encoding.split(around)
        errors = [w[:, None] * own for w, own in zip(weights.T, self.least, strict=True)]
        found = self.nearest(Marginal.of(self.projection, levels).best_of_each(errors))
        return self.encoding.join(found, self.best_methods(found))

    def switched(self, incumbents: Rows, rng: np.random.Generator, count: int) -> Rows:
        """Return incumbents with one to three units cut more, as many less, some methods changed.

        A pair is paid for: what does not fit the budget is left out.
        """
        rows = incumbents[rng.integers(len(incumbents), size=count)]
        levels, methods = (part.copy() for part in self.encoding.split(rows))
        for number in range(count):
            pairs = int(_PAIRS[rng.integers(len(_PAIRS))])
            units = rng.permutation(self.encoding.units)[: 2 * pairs]
            signs = np.where(np.arange(len(units)) % 2, -1, 1)
            levels[number, units] += signs * _STEPS[rng.integers(len(_STEPS), size=len(units))]
            if pairs == 0 or rng.random() < 0.3:
                some = rng.permutation(self.encoding.units)[: int(rng.integers(1, 4))]
                methods[number, some] = rng.integers(self.encoding.methods[some])
        levels = np.clip(levels, 0, self.encoding.levels - 1)
        inside = self.projection.meets(levels)
        return self.encoding.join(levels[inside], methods[inside])

    def crossed(self, incumbents: Rows, rng: np.random.Generator, count: int) -> Rows:
        """Return mixtures of two incumbents, unit by unit."""
        first, second = (incumbents[rng.integers(len(incumbents), size=count)] for _ in range(2))
        mine = rng.random((count, self.encoding.units)) < 0.5
        levels, methods = (
            np.where(mine, a, b)
            for a, b in zip(self.encoding.split(first), self.encoding.split(second), strict=True)
        )
        return self.encoding.join(self.nearest(levels), methods)

    def random(self, rng: np.random.Generator, count: int) -> Rows:
        """Return candidates drawn evenly, then brought to the budget."""
        levels, methods = self.encoding.split(self.encoding.random(rng, count))
        return self.encoding.join(self.nearest(levels), methods)

    def nearest(self, wanted: Rows) -> Rows:
        """Return feasible levels near to many wanted ones; slack that rounding leaves is kept.

        Units on which nothing limited depends stay at what was wanted.

        Args:
            wanted: Levels, ``policies x units``.
        """
        return self.projection.scaled(wanted, _POSITIONS)

    @property
    def least(self) -> list[Floats]:
        """What each unit gives up at each of its levels with its best method."""
        own = self.errors.min(axis=1)
        return [line[:levels] for line, levels in zip(own, self.encoding.levels, strict=True)]

    def best_methods(self, levels: Rows) -> Rows:
        """Return the number of the method that gives up least, ``policies x units``."""
        best: Rows = self.errors.argmin(axis=1)  # units x levels
        found: Rows = best[np.arange(self.encoding.units), levels]
        return found

    def given_up(self, rows: Rows) -> Floats:
        """Return what each unit gives up by the table, ``policies x units``."""
        levels, methods = self.encoding.split(rows)
        found: Floats = self.errors[np.arange(self.encoding.units), methods, levels]
        return found


def plain_errors(encoding: Encoding) -> Floats:
    """Return errors where none were measured: the square of the share removed, SPDY's prior.

    The shape is ``units x methods x levels``; what a unit does not have is infinite.
    """
    return padded(
        encoding,
        {
            unit: dict.fromkeys(
                space.methods, np.array([(1 - kept / space.atoms) ** 2 for kept in space.kept])
            )
            for unit, space in encoding.spaces.items()
        },
    )


def padded(encoding: Encoding, errors: Mapping[str, Mapping[str, Floats]]) -> Floats:
    """Return errors by unit and method as one array; what a unit does not have is infinite."""
    shape = (encoding.units, int(encoding.methods.max()), int(encoding.levels.max()))
    found = np.full(shape, np.inf)
    for at, (unit, space) in enumerate(encoding.spaces.items()):
        for number, method in enumerate(space.methods):
            found[at, number, : space.levels] = errors[unit][method]
    return found
