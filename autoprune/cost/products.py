"""Products of sizes, evaluated for many policies at once."""

from collections.abc import Iterable, Sequence

import numpy as np

from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Factor


class Factors:
    """Sizes as functions of the atoms kept; equal ones are evaluated once.

    Args:
        units: Names of the units, in the order of the columns of what is evaluated.
    """

    def __init__(self, units: Sequence[str]) -> None:
        self._column = {unit: number for number, unit in enumerate(units)}
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: list[Factor] = []

    def number(self, factor: Factor) -> int:
        """Return the column of ``factor`` in what `values` returns."""
        key = (factor.fixed, *sorted(factor.parts.items()))
        if key not in self._numbers:
            self._numbers[key] = len(self._known)
            self._known.append(factor)
        return self._numbers[key]

    def values(self, kept: Ids) -> Ids:
        """Return the size of each factor, ``policies x factors``, from ``policies x units``."""
        found = np.empty((len(kept), len(self._known)), np.int64)
        for number, factor in enumerate(self._known):
            found[:, number] = factor.fixed
            for units, count in factor.parts.items():
                product = kept[:, [self._column[unit] for unit in units]].prod(axis=1)
                found[:, number] += count * product
        return found


class Products:
    """Products of a coefficient and some factors.

    Args:
        factors: Where sizes are evaluated.
        items: Coefficient and factors of each product.
    """

    def __init__(self, factors: Factors, items: Iterable[tuple[int, Sequence[Factor]]]) -> None:
        numbered = [(c, [factors.number(f) for f in parts]) for c, parts in items]
        self._coefficients = np.array([coefficient for coefficient, _ in numbered], np.int64)
        deepest = max((len(parts) for _, parts in numbered), default=0)
        one = factors.number(Factor(1, {}))
        padded = [[*parts, *[one] * (deepest - len(parts))] for _, parts in numbered]
        self._numbers = np.array(padded, np.int64).reshape(len(numbered), deepest)

    def values(self, sizes: Ids) -> Ids:
        """Return each product, ``policies x products``, from what `Factors.values` returned."""
        found = np.broadcast_to(self._coefficients, (len(sizes), len(self._coefficients)))
        for column in self._numbers.T:
            found = found * sizes[:, column]
        return found


def digits(numbers: Ids) -> Ids:
    """Return how many digits each number, none of them negative, has in decimal."""
    found = np.ones(numbers.shape, np.int64)
    power = 10
    while numbers.size and power <= numbers.max():
        found += numbers >= power
        power *= 10
    return found
