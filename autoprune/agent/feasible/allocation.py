"""Levels that give up least under a budget, where what each unit gives up adds up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.marginal import Marginal
from autoprune.agent.feasible.projection import Projection
from autoprune.core.arrays import Floats

_STARTS = (0.25, 0.5, 0.75)  # depths from which it is sought
_ROUNDS = 6  # costs of a unit depend on its neighbours: they are taken anew so often
_MOVES = (1, 2, 3, 4)  # levels
_SWITCHES = 100
_SAME = 1e-12


@dataclass(frozen=True)
class Allocator:
    """Finds feasible levels for given errors.

    Args:
        projection: What is feasible.
    """

    projection: Projection

    def uniform(self) -> Rows:
        """Return levels that take the same share of every unit."""
        return self.projection.project_row(self._at(0.5))

    def minimax(self, errors: Sequence[Floats]) -> Rows:
        """Return levels whose largest error is least, as FastNAS and AIMET choose them.

        Args:
            errors: What a unit gives up at each of its levels, by unit.
        """
        known = np.unique(np.concatenate(errors))
        rows = np.array(
            [[int((own <= most).nonzero()[0].max(initial=0)) for own in errors] for most in known]
        )
        inside = self.projection.meets(rows)
        wanted = rows[int(np.argmax(inside))] if inside.any() else rows[-1]
        # What saves nothing need not give up anything.
        return self.projection.project_row(np.where(self.projection.free, 0, wanted))

    def spdy(self, errors: Sequence[Floats]) -> Rows:
        """Return levels whose errors add up to as little as was found.

        Dynamic programming over levels, as SPDY does (Frantar and Alistarh 2022,
        arXiv:2201.13096). Costs are exact here: those of a layer depend on the units on both its
        sides, so they are taken anew at the levels found until nothing changes; pairs of levels
        are switched at last. With several limits the one that binds is counted.

        Args:
            errors: As for `minimax`; levels of infinite error are used if nothing else fits.
        """
        errors = _finite(errors)
        found = [self._settled(errors, self.projection.project_row(self._at(d))) for d in _STARTS]
        return self.switched(errors, min(found, key=lambda levels: _total(errors, levels)))

    def switched(self, errors: Sequence[Floats], levels: Rows) -> Rows:
        """Cut one unit more and another less for as long as that gives up less."""
        errors = _finite(errors)
        for _ in range(_SWITCHES):
            gains, moved = _switches(errors, levels, self._tops)
            better = np.argsort(gains, kind="stable")[: int((gains < -_SAME).sum())]
            inside = self.projection.meets(moved[better]) if len(better) else np.zeros(0, bool)
            if not inside.any():
                return levels
            levels = moved[better[int(np.argmax(inside))]]
        return levels

    def _settled(self, errors: Sequence[Floats], levels: Rows) -> Rows:
        best, seen = levels, {levels.tobytes()}
        for _ in range(_ROUNDS):
            around = Marginal.of(self.projection, levels)
            found = [around.best(errors), around.best(errors, hopeful=True)]
            rows = [self.projection.project_row(row) for row in found]
            levels = min(rows, key=lambda row: _total(errors, row))
            best = min(best, levels, key=lambda row: _total(errors, row))
            if levels.tobytes() in seen:
                break
            seen.add(levels.tobytes())
        return best

    def _at(self, depth: float) -> Rows:
        found: Rows = np.rint(depth * self._tops).astype(np.int64)
        return found

    @cached_property
    def _tops(self) -> Rows:
        return np.array(self.projection.sizes, np.int64) - 1


def _switches(errors: Sequence[Floats], levels: Rows, tops: Rows) -> tuple[Floats, Rows]:
    """Return what every pair of a deeper and a lighter cut changes, and the levels after it."""
    ups = [(u, k) for u in range(len(levels)) for k in _MOVES if levels[u] + k <= tops[u]]
    downs = [(u, -k) for u in range(len(levels)) for k in _MOVES if levels[u] >= k]
    change = {(u, k): errors[u][levels[u] + k] - errors[u][levels[u]] for u, k in ups + downs}
    pairs = [(a, b) for a in ups for b in downs if a[0] != b[0]]
    moved = np.repeat(levels[None], len(pairs), axis=0)
    for number, pair in enumerate(pairs):
        for unit, step in pair:
            moved[number, unit] += step
    return np.array([change[a] + change[b] for a, b in pairs]), moved


def _finite(errors: Sequence[Floats]) -> list[Floats]:
    """Return errors with more than all others together for infinite ones, which have no sums."""
    most = 1 + sum(float(own[np.isfinite(own)].max(initial=0.0)) for own in errors)
    return [np.where(np.isfinite(own), own, most) for own in errors]


def _total(errors: Sequence[Floats], levels: Rows) -> float:
    return float(sum(own[at] for own, at in zip(errors, levels, strict=True)))
