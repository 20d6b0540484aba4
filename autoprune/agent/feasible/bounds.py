"""The limits of a budget over a search space: what levels cost, and which are inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.smallest import smallest, varied
from autoprune.core.arrays import Bools, Floats
from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY, Costs, cost_text
from autoprune.core.limit import limit_text
from autoprune.core.policy import Policy
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.schema import UnitSpace, kept_atoms

_ALL: Floats = np.ones(1)  # of every limit may be used
_FAR = 0.5  # of the share of latency: MACs below it fell much further


@dataclass(frozen=True)
class Bounds:
    """Tells what levels cost and which are feasible, without an evaluation.

    Args:
        cost: Costs of any policy.
        spaces: What may be chosen, by unit.
        budget: The limits; all of them hold together.
        tightened: Share of a limit that is aimed at, by cost; 1 where it is left out.

    Raises:
        BudgetError: If the budget cannot be reached or decided, or the dense model meets it.
    """

    cost: CostModel
    spaces: Mapping[str, UnitSpace]
    budget: Budget
    tightened: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counted = [c for c in self.budget.limits if c.partition("@")[0] in ("macs", "sparse_macs")]
        if counted and self.cost.uncounted:
            raise BudgetError(
                f"A limit on {' and '.join(sorted(counted))} cannot be decided: nobody counts the "
                f"multiply-adds of {', '.join(self.cost.uncounted)}, which the model runs, so its "
                "total is a lower bound. Limit params, size, memory or latency instead."
            )
        dense = self.cost.dense
        if self.budget.met_by(dense, dense):
            raise BudgetError(
                f"The dense model meets the budget {self.budget} already: it has "
                f"{_costs(dense, dense)}. Nothing needs to be pruned; set a lower limit."
            )
        if len(self._costless) == len(self.spaces):
            raise BudgetError(
                f"The budget {self.budget} cannot be reached: the methods of the search space "
                "only set single weights to zero, which saves nothing that it limits. "
                "Add methods that cut (channel, head or block), or limit sparse_macs or "
                "sparse_size."
            )
        self._check_reachable()

    def tighten(self, cost: str, share: float) -> None:
        """Aim at ``share`` of what was aimed at: the limit was missed by measurement.

        Raises:
            BudgetError: If that cannot be reached.
        """
        self.tightened[cost] = share * self.tightened.get(cost, 1)
        self._check_reachable()

    def keep_away(self, cost: str, margin: float) -> None:
        """Aim below a limit by a share of it: what prices the cost is wrong by so much.

        At most half of the way to the smallest model, so that what can be reached stays so and
        there is something left to choose.
        """
        half_way = (1 + self.smallest.as_dict()[cost] / self._limits[cost]) / 2
        self.tightened[cost] = max(1 - margin, half_way)

    def _check_reachable(self) -> None:
        limits, least = self._limits, self.smallest.as_dict()
        binding = [cost for cost, limit in limits.items() if least[cost] > limit]
        if binding:
            missed = "; ".join(
                f"{self._limit_text(cost)}, but the smallest that can be reached is "
                f"{cost_text(cost, self.reachable(cost))}"
                for cost in binding
            )
            raise BudgetError(
                f"The budget {self.budget} cannot be reached: {missed}. The smallest model has "
                f"{_costs(self.smallest, self.cost.dense)}.{self._floor_text(binding)} Set a "
                "higher limit, or allow higher sparsities or more units in the search space."
            )

    def _floor_text(self, binding: Sequence[str]) -> str:
        """Return what holds latency up, if the smallest model's MACs are far below its share."""
        least, dense = self.smallest.as_dict(), self.cost.dense.as_dict()
        times = [cost for cost in binding if cost.startswith(LATENCY)]
        if not any(least["macs"] * dense[c] < _FAR * least[c] * dense["macs"] for c in times):
            return ""
        return (
            " Its MACs fell much further than its latency: what each layer takes however narrow "
            "it is stays, and is most of a small model's time."
        )

    def reachable(self, cost: str) -> float:
        """Return the smallest amount of one cost, whatever the other limits are."""
        at = list(self._limits).index(cost)
        row = smallest(self.sizes, lambda rows: self.shares(rows)[at])
        return self.price(self.levels(row)).as_dict()[cost]

    @cached_property
    def smallest(self) -> Costs:
        """Costs of the smallest model that can be reached."""
        return self.price(self.levels(self._smallest))

    @cached_property
    def _smallest(self) -> Rows:
        """Levels of the smallest model: what comes closest to its limit costs least."""
        return smallest(self.sizes, lambda rows: self.shares(rows).max(axis=0))

    @cached_property
    def sizes(self) -> list[int]:
        """How many levels each unit has, in the order of ``spaces``."""
        return [space.levels for space in self.spaces.values()]

    def price(self, levels: Mapping[str, int]) -> Costs:
        """Return the costs of levels by unit."""
        return self.cost.price({unit: self.spaces[unit].kept[at] for unit, at in levels.items()})

    def feasible(self, levels: Mapping[str, int]) -> bool:
        """Tell whether levels by unit meet every limit."""
        return self._inside(self.price(levels))

    def excess(self, levels: Mapping[str, int]) -> dict[str, float]:
        """Return by how much of each limit levels by unit exceed it; 0 or less is inside."""
        found = self.price(levels).as_dict()
        return {cost: found[cost] / limit - 1 for cost, limit in self._limits.items()}

    def aims_at(self, policy: Policy) -> bool:
        """Tell whether a policy is inside what is aimed at now."""
        return self._inside(self.costs_of(policy))

    def costs_of(self, policy: Policy) -> Costs:
        """Return the costs of a policy."""
        kept = {u: kept_atoms(self.spaces[u].atoms, c.sparsity) for u, c in policy.items()}
        return self.cost.price(kept)

    def _inside(self, costs: Costs) -> bool:
        found = costs.as_dict()
        return all(found[cost] <= limit for cost, limit in self._limits.items())

    def row(self, levels: Mapping[str, int]) -> Rows:
        """Return levels by unit in the order of ``spaces``; a unit that is absent is untouched."""
        return np.array([levels.get(unit, 0) for unit in self.spaces], np.int64)

    def levels(self, row: Rows) -> dict[str, int]:
        """Return levels in the order of ``spaces`` by unit."""
        return {unit: int(at) for unit, at in zip(self.spaces, row, strict=True)}

    def shares(self, rows: Rows) -> Floats:
        """Return what levels cost as shares of what is aimed at, ``limits x policies``.

        Args:
            rows: Levels, ``policies x units``, in the order of ``spaces``.
        """
        found = self.cost.price_many(self._kept(rows))
        return np.stack([found[cost] / limit for cost, limit in self._limits.items()])

    def meets(self, rows: Rows, most: Floats = _ALL) -> Bools:
        """Tell which rows of levels are inside every limit.

        Args:
            rows: Levels, ``policies x units``, in the order of ``spaces``.
            most: Shares of what is aimed at that may be used, one for each limit or one for all.
        """
        inside: Bools = np.all(self.shares(rows) <= most[:, None], axis=0)
        return inside

    def _limit_text(self, cost: str) -> str:
        """Return a limit as it was given, and as the amount aimed at if that does not say it."""
        limit = self.budget.limits[cost]
        plain = not limit.relative and cost not in self.tightened
        amount = "" if plain else f" ({cost_text(cost, self._limits[cost])})"
        return f"{limit_text(cost, limit)}{amount}"

    @property
    def _limits(self) -> dict[str, float]:
        limits = self.budget.resolve(self.cost.dense)
        return {cost: limit * self.tightened.get(cost, 1) for cost, limit in limits.items()}

    @cached_property
    def _costless(self) -> frozenset[str]:
        """Units on which no limited cost depends, at whatever level: latency may rise and fall."""
        rows = varied(self.sizes, np.zeros(len(self.spaces), np.int64))
        found, dense = self.cost.price_many(self._kept(rows)), self.cost.dense.as_dict()
        moved = np.any([found[cost] != dense[cost] for cost in self._limits], axis=0)
        moving = set(np.flatnonzero((rows[moved] > 0).any(axis=0)))
        return frozenset(unit for at, unit in enumerate(self.spaces) if at not in moving)

    @cached_property
    def free(self) -> Bools:
        """Units on which nothing limited depends, in the order of ``spaces``."""
        return np.array([unit in self._costless for unit in self.spaces])

    def _kept(self, rows: Rows) -> Rows:
        """Return rows of levels as rows of the cost model.

        Levels beyond a unit's own are not caught: they would be read as those of its neighbour.
        """
        kept = np.repeat(self.cost.row({}), len(rows), axis=0)
        kept[:, self._columns] = self._atoms.take(rows + self._starts)
        return kept

    @cached_property
    def _columns(self) -> Rows:
        """Column of each unit in the rows of the cost model."""
        return np.array([self.cost.column(unit) for unit in self.spaces], np.int64)

    @cached_property
    def _starts(self) -> Rows:
        """Place of each unit's first level in ``_atoms`` laid flat, where a look-up is quick."""
        return np.arange(len(self.spaces)) * max(self.sizes, default=0)

    @cached_property
    def _atoms(self) -> Rows:
        """Atoms kept, ``units x levels``; beyond a unit's levels the last one."""
        most = max(self.sizes, default=0)
        rows = [[*one.kept, *[one.kept[-1]] * (most - one.levels)] for one in self.spaces.values()]
        return np.array(rows, np.int64)


def _costs(costs: Costs, dense: Costs) -> str:
    whole = dense.as_dict()
    return ", ".join(
        f"{name} {cost_text(name, value)} ({100 * value / whole[name]:.1f}% of dense)"
        for name, value in costs.as_dict().items()
        if not name.startswith("sparse") and whole[name]
    )
