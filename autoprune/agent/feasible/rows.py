"""Policies inside the budget, as rows: brought there, filled up, and beside one another."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autoprune.agent.feasible.encoding import Encoding, Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.core.arrays import Bools


@dataclass(frozen=True)
class Feasible:
    """What is feasible, in rows of an `Encoding`.

    Args:
        projection: What is feasible.
        encoding: The form of rows.
    """

    projection: Projection
    encoding: Encoding

    def meets(self, rows: Rows) -> Bools:
        """Tell which of some policies are inside the budget."""
        if not len(rows):
            return np.zeros(0, bool)
        return self.projection.meets(self.encoding.split(rows)[0])

    def projected(self, row: Rows) -> Rows:
        """Return the row of `Projection.project_row`, with the methods that were wanted."""
        levels, methods = self.encoding.split(row)
        return self.encoding.join(self.projection.project_row(levels), methods)

    def filled(self, rows: Rows) -> Rows:
        """Let single units of feasible rows take back what the budget leaves."""
        levels, methods = self.encoding.split(rows)
        return self.encoding.join(self.projection.filled(levels), methods)

    def spent(self, row: Rows, tried: set[bytes]) -> Rows:
        """Let single units of a new row take back what the budget leaves, while that is new."""
        filled: Rows = self.filled(row[None])[0]
        if filled.tobytes() not in tried:
            return filled
        _, methods = self.encoding.split(row)
        while True:
            lower = self.projection.lowered(self.encoding.split(row)[0])
            rows = self.encoding.join(lower, np.broadcast_to(methods, lower.shape))
            own = row.tobytes()  # N:M stays what it is at a lower level
            new = [one for one in rows if (name := one.tobytes()) not in tried and name != own]
            if not new:
                return row
            row = new[0]

    def uniform(self) -> Rows:
        """Return the policy that cuts each unit by half of its levels, brought to the budget."""
        levels = (self.encoding.levels - 1) // 2
        return self.projected(self.encoding.join(levels, np.zeros_like(levels)))

    def neighbour(
        self, starts: Iterable[Rows], tried: set[bytes], rng: np.random.Generator
    ) -> Rows | None:
        """Return a feasible policy that is new beside one of others, None if there is none.

        Where costs never rise as more is cut, this finds one for as long as there is any: all
        that is feasible hangs together, by way of the smallest model.

        Args:
            starts: Policies, those first beside which it is sought first.
            tried: What is not new.
            rng: Chooses among those beside one policy.
        """
        for start in starts:
            near = self._beside(start)
            levels, methods = self.encoding.split(near)
            near = self.encoding.join(levels, methods)[self.projection.meets(levels)]
            new = [row for row in near if row.tobytes() not in tried]
            if new:
                return self.spent(new[int(rng.integers(len(new)))], tried)
        return None

    def _beside(self, row: Rows) -> Rows:
        """Return rows that differ in the level or the method of one unit."""
        most = np.concatenate([self.encoding.levels, self.encoding.methods])
        levels = np.arange(2 * self.encoding.units) < self.encoding.units
        found = [row]
        for column in range(len(row)):
            values = (row[column] - 1, row[column] + 1) if levels[column] else range(most[column])
            for value in values:
                if 0 <= value < most[column] and value != row[column]:
                    found.append(row.copy())
                    found[-1][column] = value
        return np.stack(found)
