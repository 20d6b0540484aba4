"""Projection: the nearest levels that meet the budget and use it up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from autoprune.core.budget import Budget
from autoprune.core.costs import Costs
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.schema import UnitSpace

Levels = dict[str, int]
_HALVINGS = 24


@dataclass(frozen=True)
class Projection:
    """Maps any levels to feasible ones; what is feasible costs no evaluation to find out.

    Args:
        cost: Exact costs; they never rise with a level.
        spaces: What may be chosen, by unit.
        budget: The limits.

    Raises:
        BudgetError: If the budget cannot be reached, or the dense model meets it already.
    """

    cost: CostModel
    spaces: Mapping[str, UnitSpace]
    budget: Budget

    def __post_init__(self) -> None:
        dense = self.cost.dense
        if self.feasible({unit: 0 for unit in self.spaces}):
            raise BudgetError(
                f"The dense model meets the budget {self.budget} already: it has "
                f"{_costs(dense, dense)}. Nothing needs to be pruned; set a lower limit."
            )
        smallest = self.price({unit: space.levels - 1 for unit, space in self.spaces.items()})
        if len(self._costless) == len(self.spaces):
            raise BudgetError(
                f"The budget {self.budget} cannot be reached: the methods of the search space "
                "only set single weights to zero, which saves neither MACs nor parameters. "
                "Add methods that cut: channel, head or block."
            )
        if not self.budget.met_by(smallest, dense):
            raise BudgetError(
                f"The budget {self.budget} cannot be reached: with every unit at its highest "
                f"sparsity the model has {_costs(smallest, dense)}. Set a higher limit, or allow "
                "higher sparsities or more units in the search space."
            )

    def price(self, levels: Mapping[str, int]) -> Costs:
        """Return the exact costs of levels by unit."""
        return self.cost.price({unit: self.spaces[unit].kept[at] for unit, at in levels.items()})

    def feasible(self, levels: Mapping[str, int]) -> bool:
        """Tell whether levels by unit meet every limit."""
        return self.budget.met_by(self.price(levels), self.cost.dense)

    def project(self, wanted: Mapping[str, int]) -> Levels:
        """Return feasible levels close to ``wanted`` that leave no slack a unit could use.

        All sparsities are scaled together, down if there is slack and towards the highest if
        there is none; single units then take back what rounding left. Units that cost the same at
        every level (zeros keep shapes) stay at what was wanted.
        """
        low, high = 0.0, 2.0  # 0 is dense, 1 is what was wanted, 2 is the smallest model
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (
                (low, middle) if self.feasible(self._at(wanted, middle)) else (middle, high)
            )
        kept = {unit: wanted[unit] for unit in self._costless}
        return self._spend(self._at(wanted, high), wanted) | kept

    @cached_property
    def _costless(self) -> frozenset[str]:
        ends = {unit: self.price({unit: space.levels - 1}) for unit, space in self.spaces.items()}
        return frozenset(unit for unit, costs in ends.items() if costs == self.cost.dense)

    def _at(self, wanted: Mapping[str, int], position: float) -> Levels:
        levels: Levels = {}
        for unit, space in self.spaces.items():
            aim = space.kept[wanted[unit]]
            if position <= 1:
                kept = space.atoms + (aim - space.atoms) * position
            else:
                kept = aim + (space.kept[-1] - aim) * (position - 1)
            levels[unit] = min(
                range(space.levels), key=lambda at: (abs(space.kept[at] - kept), at)
            )
        return levels

    def _spend(self, levels: Levels, wanted: Mapping[str, int]) -> Levels:
        """Lower levels one at a time, those furthest above the wish first, while it fits."""
        blocked = set(self._costless)
        while True:
            able = [u for u, at in levels.items() if at > 0 and u not in blocked]
            if not able:
                return levels
            unit = max(able, key=lambda u: (levels[u] - wanted[u], levels[u], u))
            lower = levels | {unit: levels[unit] - 1}
            if self.feasible(lower):
                levels = lower
            else:
                blocked.add(unit)


def _costs(costs: Costs, dense: Costs) -> str:
    whole = dense.as_dict()
    return ", ".join(
        f"{name} {value:,} ({100 * value / whole[name]:.1f}% of dense)"
        for name, value in costs.as_dict().items()
    )
