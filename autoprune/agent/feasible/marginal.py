"""Dynamic programming over levels: the least given up for what must be saved of a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.feasible.smallest import varied
from autoprune.core.arrays import Floats

_BINS = 500  # parts that the budget is counted in
_PARTS = np.arange(_BINS + 1)
_NEAR = 1e-6  # of a part: rounding errors


@dataclass(frozen=True)
class Marginal:
    """What each level of each unit saves of the limit that binds, as shares of it.

    Args:
        saved: By unit and level.
        needed: What must be saved in all.
    """

    saved: list[Floats]
    needed: float

    @classmethod
    def of(cls, projection: Projection, levels: Rows) -> "Marginal":
        """Price the neighbours of ``levels``."""
        ends = np.cumsum([1, *projection.sizes])
        used = projection.shares(np.vstack([levels, varied(projection.sizes, levels)]))
        shares = used[int(np.argmax(used[:, 0]))]
        own = [shares[a:b] for a, b in pairwise(ends)]
        needed = shares[0] - 1 + sum(part[0] - shares[0] for part in own)
        return cls([part[0] - part for part in own], float(needed))

    def best(self, errors: Sequence[Floats], *, hopeful: bool = False) -> Rows:
        """Return the levels with the least sum of errors that save what is needed.

        Args:
            errors: What a unit gives up at each of its levels, by unit.
            hopeful: What is saved is rounded up to a part of the budget, not to the nearest one:
                what fits exactly is found then, but what is found may not quite fit.
        """
        found: Rows = self.best_of_each([own[None] for own in errors], hopeful=hopeful)[0]
        return found

    def best_of_each(self, errors: Sequence[Floats], *, hopeful: bool = False) -> Rows:
        """Return the best levels under each of several errors, ``draws x units``.

        Args:
            errors: What a unit gives up, ``draws x levels``, by unit.
            hopeful: As for `best`.
        """
        steps = self._steps(hopeful)
        # Infinite in front: nothing saves less than nothing.
        padded = np.full((len(errors[0]), 2 * _BINS + 1), np.inf)
        padded[:, _BINS] = 0.0
        before = []
        for own, saving in zip(errors, steps, strict=True):
            least = padded[:, _BINS:].copy()  # by parts saved; the last one is all that is needed
            before.append(least)
            # Before `b` parts are saved with a level that saves `step`, `b - step` are.
            options = np.take(padded, _BINS + _PARTS - saving[:, None], axis=1) + own[:, :, None]
            padded[:, _BINS:] = options.min(axis=1)
            padded[:, -1] = (_tails(least)[:, saving] + own).min(axis=1)
        draws = range(len(padded))
        return np.stack(
            [
                _traced_back([one[at] for one in before], steps, [e[at] for e in errors])
                for at in draws
            ]
        )

    def _steps(self, hopeful: bool) -> list[Rows]:
        """Return how many parts of what is needed each level saves, by unit."""
        size = max(self.needed, 1e-9) / _BINS
        exact = [parts / size for parts in self.saved]
        whole = [np.ceil(one - _NEAR) if hopeful else np.rint(one) for one in exact]
        return [np.clip(one, 0, _BINS).astype(np.int64) for one in whole]


def _tails(least: Floats) -> Floats:
    """Return the least from so many parts off the end on: more than is needed is as good."""
    found: Floats = np.minimum.accumulate(least[..., ::-1], axis=-1)
    return found


def _traced_back(
    before: Sequence[Floats], steps: Sequence[Rows], errors: Sequence[Floats]
) -> Rows:
    """Return the levels that led to the end.

    Args:
        before: The least by parts saved before each unit.
        steps: Parts that each level saves, by unit.
        errors: What a unit gives up at each of its levels, by unit.
    """
    at, levels = _BINS, []
    for least, saving, own in zip(*map(reversed, (before, steps, errors)), strict=True):
        if at == _BINS:
            options = _tails(least)[saving] + own
        else:
            options = np.where(saving <= at, least[np.maximum(at - saving, 0)], np.inf) + own
        level = int(options.argmin())
        step = int(saving[level])
        levels.append(level)
        # All that is needed may have been reached from anywhere that is near enough.
        at = _BINS - step + int(np.argmin(least[_BINS - step :])) if at == _BINS else at - step
    return np.array(levels[::-1], np.int64)
