"""How fast something grows, told from noise and from single steps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import theilslopes

_BLOCKS, _LEAST = 60, 8  # medians that a slope is made of
_CONFIDENCE = 0.95


class Slope(NamedTuple):
    """What is gained per unit, and the interval that holds it 19 times of 20."""

    per_unit: float
    low: float
    high: float


def slope(places: Sequence[float], values: Sequence[float]) -> Slope | None:
    """Return the slope by Theil and Sen: the median of those between any two points.

    Neighbours resemble each other, which would make the interval too narrow: points are medians
    of blocks.

    Args:
        places: Where the values were found, never falling: hours, or thousands of evaluations.
        values: As many values.

    Returns:
        None if there are too few points, or all are in one place.
    """
    count = min(_BLOCKS, len(places))
    if count < _LEAST or places[0] == places[-1]:
        return None
    x, y = (
        [float(np.median(block)) for block in np.array_split(np.asarray(numbers, float), count)]
        for numbers in (places, values)
    )
    found = theilslopes(y, x, _CONFIDENCE)
    return Slope(float(found[0]), float(found[2]), float(found[3]))
