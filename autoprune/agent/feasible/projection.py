"""Projection: the nearest levels that meet the budget and use it up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoprune.agent.feasible.bounds import Bounds
from autoprune.agent.feasible.encoding import Rows
from autoprune.core.arrays import Bools, Floats

_POSITIONS = 257  # places between dense, what was wanted, and the smallest model


@dataclass(frozen=True)
class Projection(Bounds):
    """Maps any levels to feasible ones; arguments and errors are those of `Bounds`."""

    def project(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """Return feasible levels close to ``wanted`` that leave no slack a unit could use.

        All sparsities are scaled together, down if there is slack and towards the highest if
        there is none; single units then take back what rounding left. Units on which nothing
        limited depends (zeros keep shapes) stay at what was wanted.
        """
        return self.levels(self.project_row(self.row(wanted)))

    def project_row(self, wanted: Rows) -> Rows:
        """Return `project` of levels given, and returned, in the order of ``spaces``."""
        found = self._spend(self.scaled(wanted[None]), wanted[None])[0]
        return np.where(self.free, wanted, found)

    def scaled(self, wanted: Rows, positions: int = _POSITIONS) -> Rows:
        """Return the largest feasible levels on the way from dense over what is wanted on.

        What rounding leaves of the budget is not spent; units on which nothing limited depends
        stay at what was wanted.

        Args:
            wanted: Levels, ``policies x units``, in the order of ``spaces``.
            positions: Places on the way from dense to the smallest model that are looked at.
        """
        rows = self._between(wanted, np.linspace(0, 2, positions))
        feasible = self.meets(rows.reshape(-1, wanted.shape[1])).reshape(rows.shape[:2])
        feasible[-1] = True  # the smallest model, which was checked to be inside
        found = rows[feasible.argmax(axis=0), np.arange(len(wanted))]
        return np.where(self.free, wanted, found)

    def lowered(self, levels: Rows) -> Rows:
        """Return feasible levels after one unit took back a level, ``units that can x units``."""
        units = np.flatnonzero(self._fits(levels[None])[0])
        lower: Rows = levels - np.eye(len(levels), dtype=np.int64)[units]
        return lower

    def filled(self, rows: Rows) -> Rows:
        """Return feasible levels after single units took back what the budget leaves.

        Args:
            rows: Feasible levels, ``policies x units``, in the order of ``spaces``.
        """
        return self._spend(rows, rows)

    def _between(self, wanted: Rows, at: Floats) -> Rows:
        """Return ``positions x policies x units``: at 0 dense, at 1 wanted, at 2 the smallest."""
        first = np.minimum(at.astype(int), 1)
        columns = []
        for unit, space in enumerate(self.spaces.values()):
            kept = np.array(space.kept)
            aim = kept[wanted[:, unit]].astype(float)
            least = kept[self._smallest[unit]]
            ends = np.stack([np.full_like(aim, space.atoms), aim, np.full_like(aim, least)])
            aims = (ends[first + 1] - ends[first]) * (at - first)[:, None] + ends[first]
            columns.append(_nearest(kept, aims))
        return np.stack(columns, axis=-1)

    def _spend(self, rows: Rows, wanted: Rows) -> Rows:
        """Lower levels one at a time, those furthest above the wish first, while it fits."""
        rows, left = rows.copy(), np.arange(len(rows))
        while len(left):
            fits = self._fits(rows[left])
            left, fits = left[fits.any(axis=1)], fits[fits.any(axis=1)]
            order = self._order(rows[left], wanted[left])
            rows[left, np.where(fits, order, order.min(initial=0) - 1).argmax(axis=1)] -= 1
        return rows

    def _fits(self, rows: Rows) -> Bools:
        """Tell which units can take back one level inside the budget, ``policies x units``."""
        fits = ~self.free & (rows > 0)
        policies, units = np.nonzero(fits)
        lower = rows[policies]
        lower[np.arange(len(units)), units] -= 1
        fits[policies, units] = self.meets(lower) if len(units) else False
        return fits

    def _order(self, rows: Rows, wanted: Rows) -> Rows:
        """Return which unit comes first, highest: above the wish, then by level, then by name."""
        return ((rows - wanted) * max(self.sizes) + rows) * len(self.spaces) + self._rank

    @cached_property
    def _rank(self) -> Rows:
        """Place of each unit in alphabetical order."""
        return np.argsort(np.argsort(list(self.spaces)))


def _nearest(falling: Rows, aims: Floats) -> Rows:
    """Return the index of the number nearest to each aim; of two as near the larger one.

    Args:
        falling: Numbers, each smaller than the one before.
        aims: Of any shape.
    """
    found: Rows = np.searchsorted(-(falling[1:] + falling[:-1]) / 2, -aims)
    return found
