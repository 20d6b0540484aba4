"""Search spaces and budgets without a network: layers in a row, whose costs are simple."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from autoprune.agent.feasible.projection import Projection
from autoprune.core.budget import Budget
from autoprune.core.costs import EXACT, Costs
from autoprune.cost.model import CostModel
from autoprune.space.schema import UnitSpace
from autoprune.surgery.ids import Ids


class ChainCost:
    """Layers in a row between one input and one output; a stand-in for a `CostModel`.

    Args:
        atoms: Width of each layer, by unit.
    """

    uncounted: tuple[str, ...] = ()
    named: tuple[str, ...] = EXACT

    def __init__(self, atoms: Mapping[str, int]) -> None:
        self.atoms = dict(atoms)
        self._columns = {unit: at for at, unit in enumerate(atoms)}

    @property
    def dense(self) -> Costs:
        """Costs of the whole chain."""
        return self.price({})

    def price(self, kept: Mapping[str, int]) -> Costs:
        """Return the costs where units keep so many atoms."""
        found: Any = {name: int(one[0]) for name, one in self.price_many(self.row(kept)).items()}
        return Costs(**found)

    def row(self, kept: Mapping[str, int]) -> Ids:
        """Return atoms kept by unit as one row, ``1 x units``."""
        return np.array([[kept.get(unit, atoms) for unit, atoms in self.atoms.items()]])

    def column(self, unit: str) -> int:
        """Return the number of a unit's column."""
        return self._columns[unit]

    def price_many(self, kept: Ids) -> dict[str, Ids]:
        """Return each cost of many rows of atoms kept, ``policies``."""
        widths = np.ones((len(kept), kept.shape[1] + 2), np.int64)  # `np.pad` takes longer
        widths[:, 1:-1] = kept
        params, macs = widths.sum(axis=1), (widths[:, 1:] * widths[:, :-1]).sum(axis=1)
        size = 8 + 4 * params
        exact = {"macs": macs, "params": params, "size": size, "memory": widths.max(axis=1)}
        return exact | {"sparse_macs": macs, "sparse_size": size}


def chain(
    kept: Mapping[str, Sequence[int]],
    budget: str,
    methods: Mapping[str, Sequence[str]] | Sequence[str] = ("channel.l1",),
) -> Projection:
    """Return a projection onto the budget of a chain.

    Args:
        kept: Atoms kept at each level, by unit; the first is the width.
        budget: The limits.
        methods: Methods of every unit, or by unit.
    """
    named = methods if isinstance(methods, Mapping) else dict.fromkeys(kept, methods)
    spaces = {
        unit: UnitSpace(unit, at[0], tuple(named[unit]), tuple(at)) for unit, at in kept.items()
    }
    cost: Any = ChainCost({unit: at[0] for unit, at in kept.items()})
    return Projection(cast(CostModel, cost), spaces, Budget.parse(budget))
