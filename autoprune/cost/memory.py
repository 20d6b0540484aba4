"""The peak of what a forward holds in memory."""

from collections.abc import Sequence

import numpy as np

from autoprune.cost.products import Factors, Products
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Activation


class PeakMemory:
    """Bytes alive at the worst moment of a forward.

    Args:
        factors: Where sizes are evaluated.
        pieces: What the forward holds.
    """

    def __init__(self, factors: Factors, pieces: Sequence[Activation]) -> None:
        # Pieces that live and grow alike are one.
        alike: dict[tuple[object, ...], tuple[int, Activation]] = {}
        for piece in pieces:
            if piece.last <= piece.first:
                continue
            numbers = sorted(factors.number(factor) for factor in piece.factors)
            key = (piece.first, piece.last, *numbers)
            size = alike[key][0] if key in alike else 0
            alike[key] = (size + piece.coefficient, piece)
        items = list(alike.values())
        self._sizes = Products(factors, [(size, piece.factors) for size, piece in items])
        self._alive = _worst_moments([piece for _, piece in items])

    def values(self, sizes: Ids) -> Ids:
        """Return the peak by policy."""
        if not self._alive.size:
            return np.zeros(len(sizes), np.int64)
        # Whole numbers below 2**53 stay exact in double precision, whose products are fast.
        held = self._sizes.values(sizes).astype(np.float64) @ self._alive
        peak: Ids = held.max(axis=1).astype(np.int64)
        return peak


def _worst_moments(pieces: Sequence[Activation]) -> np.ndarray:
    """Return which pieces are alive, ``pieces x moments``, at each moment before one is freed."""
    firsts = np.array([piece.first for piece in pieces])
    lasts = np.array([piece.last for piece in pieces])
    moments = np.unique(lasts) - 1
    alive = (firsts[:, None] <= moments) & (lasts[:, None] > moments)
    return np.asarray(alive, np.float64)
