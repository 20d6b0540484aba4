"""Decisions of the best policy so far, and what might have been done in their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from autoprune.agent.encoding import Floats, Rows
from autoprune.agent.samplers.belief import Belief
from autoprune.agent.samplers.known import Bools, Known
from autoprune.agent.samplers.pool import Pool

Units = tuple[int, ...]  # numbers of units, in the order of an `Encoding`
_LOOKED_AT = 8  # decisions whose alternatives are drawn, those that cost most quality first
_FILLED = 24  # alternatives, best first, that take back what they leave of the budget
_ALL = -1  # all other units pay
_TOGETHER = 6  # units that are looked at in pairs
ALIKE = 0.95  # of two costs that count as alike, the lower one is at least so much of the other


@dataclass(frozen=True)
class Decisions:
    """What a policy does to its units, one by one or two together, and the other ways to save.

    Where a decision is undone, what it saved is saved elsewhere: regret is what the best such
    alternative is better by. What undoing alone would give cancels out of that difference, so
    the alternative is what is scored.

    Args:
        pool: What knows costs and methods.
    """

    pool: Pool

    def best_alternative(
        self, row: Rows, known: Known, belief: Belief
    ) -> tuple[Rows, Units] | None:
        """Return what may improve a policy most without one of its decisions, and which one.

        The decision of the highest regret is examined, by what is expected; none twice.

        Args:
            row: The policy, which was scored.
            known: What was tried and examined before.
            belief: What is expected of policies.
        """
        for decisions in self.open(row, known, belief):
            rows, owners = self.alternatives(row, decisions)
            if not len(rows):
                continue
            order = np.argsort(-belief.improvement(rows), kind="stable")[:_FILLED]
            levels, methods = self.pool.encoding.split(rows[order])
            levels = self.pool.projection.filled(levels, self._most(row))
            filled = self.pool.encoding.join(levels, methods)
            for at in np.argsort(-belief.improvement(filled), kind="stable"):
                if filled[at].tobytes() not in known.tried:
                    return filled[at], owners[order[at]]
        return None

    def open(self, row: Rows, known: Known, belief: Belief) -> Iterator[list[Units]]:
        """Yield decisions that were not examined yet, a few at a time, what costs most first.

        Single ones come first, then pairs: they matter where every single one is right.

        Args:
            row: The policy.
            known: What was examined before.
            belief: What is expected of policies.
        """
        done = {one.units for one in known.examined if (one.row == row).all()}
        order = self._by_gain(row, belief)
        single: list[Units] = [(unit,) for unit in order]
        pairs: list[Units] = [tuple(sorted(pair)) for pair in combinations(order[:_TOGETHER], 2)]
        for decisions in (single, pairs):
            left = [units for units in decisions if units not in done]
            yield from (left[at : at + _LOOKED_AT] for at in range(0, len(left), _LOOKED_AT))

    def alternatives(self, row: Rows, decisions: Sequence[Units]) -> tuple[Rows, list[Units]]:
        """Return feasible policies without one of the decisions, and which one each is without.

        A decision is undone in part or wholly, or made with another method. What that costs is
        paid by one other unit, by all others, or by nobody where nothing more is used up by it.
        """
        most = self._most(row)
        found, owners = list[Rows](), list[Units]()
        for units in decisions:
            for undone in self._undone(row, units):
                rows = self._paid(undone, units, most)
                found += list(rows)
                owners += [units] * len(rows)
        width = 2 * self.pool.encoding.units
        return (np.stack(found) if found else np.zeros((0, width), np.int64)), owners

    def repeated(self, rows: Rows, known: Known) -> Bools:
        """Tell which policies repeat a decision that was reverted: as deep a cut, the same method.

        That is no evidence against policies that have to save more than the one that was examined.

        Args:
            rows: Policies, ``policies x columns``.
            known: What was examined before.
        """
        found: Bools = np.zeros(len(rows), bool)
        costs = self._costs(rows)
        for one in known.examined:
            if one.reverted:
                own = list(one.units)
                methods = [self.pool.encoding.units + at for at in own]
                deep = (rows[:, own] >= one.row[own]).all(axis=1)
                same = (rows[:, methods] == one.row[methods]).all(axis=1)
                as_much = costs >= ALIKE * self._costs(one.row[None])
                found |= deep & same & as_much.all(axis=0)
        return found

    def _costs(self, rows: Rows) -> Floats:
        """Return shares of the limits, ``limits x policies``."""
        return self.pool.projection.shares(self.pool.encoding.split(rows)[0])

    def _most(self, row: Rows) -> Floats:
        """Return the shares of the limits that alternatives may use.

        That is about what the policy does, for what rounding left may be spent in another way.
        What it left beside that, as one found at a lower limit of a front does, is no regret.
        """
        return np.minimum(self._costs(row[None])[:, 0] / ALIKE, 1.0)

    def _by_gain(self, row: Rows, belief: Belief) -> list[int]:
        """Return cut units, those first whose return is expected to improve the score most."""
        levels, _ = self.pool.encoding.split(row)
        cut = np.flatnonzero((levels > 0) & ~self.pool.projection.free)
        if not len(cut):
            return []
        whole = np.repeat(row[None], len(cut), axis=0)
        whole[np.arange(len(cut)), cut] = 0
        return [int(unit) for unit in cut[np.argsort(belief.expected(whole), kind="stable")]]

    def _undone(self, row: Rows, units: Units) -> Iterator[Rows]:
        encoding = self.pool.encoding
        levels, methods = encoding.split(row)
        own = list(units)
        for lower in _distinct([levels[own] - 1, levels[own] // 2, 0 * levels[own]]):
            undone = row.copy()
            undone[own] = lower
            yield undone
        if len(units) == 1:
            for method in range(encoding.methods[units[0]]):
                if method != methods[units[0]]:
                    undone = row.copy()
                    undone[encoding.units + units[0]] = method
                    yield undone

    def _paid(self, undone: Rows, units: Units, most: Floats) -> Rows:
        """Return ways to bring a policy back to shares of the limits without ``units``."""
        encoding, projection = self.pool.encoding, self.pool.projection
        levels, methods = encoding.split(undone)
        others = np.setdiff1d(np.flatnonzero(~projection.free), units)
        payers, rows = self._cut_more(levels, others)
        inside = projection.meets(np.concatenate([levels[None], rows]), most)
        if inside[0]:
            return undone[None]
        able = np.flatnonzero(inside[1:])
        _, least = np.unique(payers[able], return_index=True)  # levels rise for each payer
        found = rows[able[least]]
        return encoding.join(found, np.broadcast_to(methods, found.shape))

    def _cut_more(self, levels: Rows, others: Rows) -> tuple[Rows, Rows]:
        """Return payers, and levels where each cuts more, ever more: one unit, or all others."""
        sizes = self.pool.encoding.levels
        steps = [(at, level) for at in others for level in range(levels[at] + 1, sizes[at])]
        most = int(sizes.max())
        rows = np.repeat(levels[None], len(steps) + most, axis=0)
        for number, (at, level) in enumerate(steps):
            rows[number, at] = level
        rows[len(steps) :, others] += np.arange(1, most + 1)[:, None]
        payers = np.array([at for at, _ in steps] + [_ALL] * most)
        return payers, np.minimum(rows, sizes - 1)


def examinable(cut: int) -> int:
    """Return how many decisions of a policy are examined at most: the family of their tests.

    Args:
        cut: How many units the policy cuts.
    """
    return cut + comb(min(cut, _TOGETHER), 2)


def _distinct(levels: Sequence[Rows]) -> list[Rows]:
    found: dict[bytes, Rows] = {}
    for one in levels:
        found.setdefault(np.maximum(one, 0).tobytes(), np.maximum(one, 0))
    return list(found.values())
