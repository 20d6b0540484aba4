"""Decisions of the best policy so far, and what might have been done in their place."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import comb

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.samplers.belief import Belief
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool
from autoprune.core.arrays import Bools, Floats

Units = tuple[int, ...]  # numbers of units, in the order of an `Encoding`
_LOOKED_AT = 4  # decisions whose alternatives are drawn, those that cost most quality first
_FILLED = 24  # alternatives, best first, that take back what they leave of the budget
_REMEMBERED = 32  # decisions whose alternatives are kept: a proposal mostly looks at the first
_ALL, _NOBODY = -1, -2  # who pays beside single units
TRIES = 2  # alternatives to one decision, at most
_TOGETHER = 6  # units that are looked at in pairs
ALIKE = 0.95  # of two costs that count as alike, the lower one is at least so much of the other


@dataclass
class _Remembered:
    """Alternatives to decisions of one policy under some limits, by the units decided on."""

    of: tuple[bytes, dict[str, float]] | None = None
    by_units: dict[Units, Rows] = field(default_factory=dict)


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
    _remembered: _Remembered = field(default_factory=_Remembered, compare=False)

    def best_alternatives(
        self, row: Rows, known: Known, belief: Belief
    ) -> Iterator[tuple[Rows, Units]]:
        """Yield what may improve a policy most without one of its decisions, and which one.

        The decision of the highest regret comes first, by what is expected; each is examined
        `TRIES` times at most, and once here.

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
            filled = self.pool.filled(rows[order])
            alike: Bools = np.all(self._costs(filled) <= self._most(row)[:, None], axis=0)
            done = set[Units]()
            for at in np.argsort(-belief.improvement(filled), kind="stable"):
                units = owners[order[at]]
                if alike[at] and units not in done and filled[at].tobytes() not in known.tried:
                    done.add(units)
                    yield filled[at], units

    def open(self, row: Rows, known: Known, belief: Belief) -> Iterator[list[Units]]:
        """Yield decisions that may still be examined, a few at a time, what costs most first.

        Single ones come first, then pairs: they matter where every single one is right. Then each
        has another try, for an alternative that disappoints makes one expect more of others.

        Args:
            row: The policy.
            known: What was examined before.
            belief: What is expected of policies.
        """
        tries = Counter(one.units for one in known.examined if (one.row == row).all())
        order = self._by_gain(row, belief)
        single: list[Units] = [(unit,) for unit in order]
        pairs: list[Units] = [tuple(sorted(pair)) for pair in combinations(order[:_TOGETHER], 2)]
        for tried, decisions in product(range(TRIES), (single, pairs)):
            left = [units for units in decisions if tries[units] == tried]
            if decisions is pairs:  # which six units cost most may change
                done = sum(count for units, count in tries.items() if len(units) > 1)
                left = left[: max(TRIES * len(pairs) - done, 0)]
            yield from (left[at : at + _LOOKED_AT] for at in range(0, len(left), _LOOKED_AT))

    def alternatives(self, row: Rows, decisions: Sequence[Units]) -> tuple[Rows, list[Units]]:
        """Return feasible policies without one of the decisions, and which one each is without.

        A decision is undone in part or wholly, or made with another method. What that costs is
        paid by one other unit, by all others, or by nobody where nothing more is used up by it.
        Those of the policy asked for last are remembered: the best one stays so for long.
        """
        width = 2 * self.pool.encoding.units
        of = row.tobytes(), dict(self.pool.projection.tightened)
        if self._remembered.of != of:
            self._remembered.of, self._remembered.by_units = of, {}
        known = self._remembered.by_units
        known |= self._alternatives(row, [units for units in decisions if units not in known])
        while len(known) > _REMEMBERED and (oldest := next(iter(known))) not in decisions:
            del known[oldest]
        owners = [units for units in decisions for _ in known[units]]
        parts = (known[units] for units in decisions)
        return np.concatenate([np.zeros((0, width), np.int64), *parts]), owners

    def _alternatives(self, row: Rows, decisions: Sequence[Units]) -> dict[Units, Rows]:
        every = [(units, undone) for units in decisions for undone in self._undone(row, units)]
        paid = self._paid([undone for _, undone in every], [units for units, _ in every], row)
        found: dict[Units, list[Rows]] = {units: [] for units in decisions}
        for (units, _), rows in zip(every, paid, strict=True):
            found[units].append(rows)
        return {units: np.concatenate(rows) for units, rows in found.items()}

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

        A policy whose levels leave no more of the budget than rounding does saves what the budget
        asks for, and so do its alternatives. What one found at a lower limit of a front leaves
        beside that is no regret: its alternatives may use about what it does.
        """
        costs = self._costs(row[None])[:, 0]
        spent = not len(self.pool.projection.lowered(self.pool.encoding.split(row)[0]))
        return np.ones_like(costs) if spent else np.minimum(costs / ALIKE, 1.0)

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

    def _paid(self, undone: Sequence[Rows], own: Sequence[Units], row: Rows) -> list[Rows]:
        """Return ways to bring each of some policies back to what ``row`` costs, without ``own``.

        Nobody pays where nothing is to be paid.
        """
        encoding, projection = self.pool.encoding, self.pool.projection
        others = [np.setdiff1d(np.flatnonzero(~projection.free), units) for units in own]
        split = [encoding.split(one) for one in undone]
        ways = [self._cut_more(one[0], able) for one, able in zip(split, others, strict=True)]
        if not ways:
            return []
        inside = projection.meets(np.concatenate([rows for _, rows in ways]), self._most(row))
        ends = np.cumsum([len(rows) for _, rows in ways])[:-1]
        found = []
        for (payers, rows), fine, (_, methods) in zip(
            ways, np.split(inside, ends), split, strict=True
        ):
            able = np.flatnonzero(fine)
            _, least = np.unique(payers[able], return_index=True)  # levels rise for each payer
            chosen = rows[:1] if fine[0] else rows[able[least]]
            found.append(encoding.join(chosen, np.broadcast_to(methods, chosen.shape)))
        return found

    def _cut_more(self, levels: Rows, others: Rows) -> tuple[Rows, Rows]:
        """Return payers and levels: as they are, then where one unit, or all others, cut more."""
        sizes = self.pool.encoding.levels
        counts = sizes[others] - 1 - levels[others]
        payers = np.repeat(others, counts)
        above = np.arange(len(payers)) - np.repeat(np.cumsum(counts) - counts, counts)
        most = int(sizes.max())
        rows = np.repeat(levels[None], 1 + len(payers) + most, axis=0)
        rows[1 + np.arange(len(payers)), payers] += 1 + above
        rows[1 + len(payers) :, others] += np.arange(1, most + 1)[:, None]
        whom = np.concatenate([[_NOBODY], payers, np.full(most, _ALL)])
        return whom, np.minimum(rows, sizes - 1)


def pairs(cut: int) -> int:
    """Return how many pairs of units of a policy are examined at most.

    Args:
        cut: How many units the policy cuts.
    """
    return comb(min(cut, _TOGETHER), 2)


def _distinct(levels: Sequence[Rows]) -> list[Rows]:
    found: dict[bytes, Rows] = {}
    for one in levels:
        found.setdefault(np.maximum(one, 0).tobytes(), np.maximum(one, 0))
    return list(found.values())
