"""The smallest model that can be reached, where more sparsity need not cost less."""

from collections.abc import Callable, Sequence

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.core.arrays import Floats

_SAME = 1e-12


def varied(sizes: Sequence[int], levels: Rows) -> Rows:
    """Return rows in which one unit takes each of its levels, unit by unit.

    Args:
        sizes: How many levels each unit has.
        levels: Those of the other units, in the same order.
    """
    rows = np.repeat(levels[None], sum(sizes), axis=0)
    own = np.concatenate([np.arange(size) for size in sizes])
    rows[np.arange(len(rows)), np.repeat(np.arange(len(sizes)), sizes)] = own
    return rows


def smallest(sizes: Sequence[int], cost: Callable[[Rows], Floats]) -> Rows:
    """Return the highest levels, but where a lower one costs less: on a staircase it may.

    Units are lowered one at a time for as long as that costs less, which finds the smallest model
    where units cost by themselves, and a small one elsewhere.

    Args:
        sizes: How many levels each unit has.
        cost: Returns the cost of each of many rows of levels.
    """
    found = np.array(sizes, np.int64) - 1
    least = float(cost(found[None])[0])
    while True:
        rows = varied(sizes, found)
        costs = cost(rows)
        at = int(costs.argmin())
        if costs[at] >= least * (1 - _SAME):
            return found
        found, least = rows[at], float(costs[at])
