"""What single weights set to zero save where zeros are skipped or not stored."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from autoprune.core.arrays import Bools, Floats
from autoprune.cost.products import Factors, Products
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Factor, Plan

Patterns = Sequence[tuple[int, int]]
Shares = Mapping[str, Floats]  # by tensor, by policy


class Density:
    """Shares of weights that are not zero, and what follows from them.

    Where several units set weights of one tensor to zero, the one that leaves least decides:
    what others remove beside can only make it less.

    Args:
        factors: Where sizes are evaluated.
        plan: The plan.
        units: Names of the units, in the order of the columns of policies.
        shapes: Size of each dimension, and 1 where there is the tensor and 0 where not, by tensor.
        inputs: Dimension of the input channels by tensor.
        dtypes: Type by tensor.
        stored: Names of the stored tensors, in the order of the columns of data.
        density: Share that is not zero before anything is done, by tensor.
        patterns: Each N:M that may be chosen, by unit.
    """

    def __init__(
        self,
        factors: Factors,
        plan: Plan,
        units: Sequence[str],
        shapes: Mapping[str, Sequence[Factor]],
        inputs: Mapping[str, int],
        dtypes: Mapping[str, torch.dtype],
        stored: Sequence[str],
        density: Mapping[str, float],
        patterns: Mapping[str, Patterns],
    ) -> None:
        columns = {unit: number for number, unit in enumerate(units)}
        self._atoms = np.array([plan.atoms[unit] for unit in units], np.int64)
        self._by: dict[str, list[tuple[int, Patterns]]] = {name: [] for name in density}
        for unit in plan.weights.values():
            for name in unit.members:
                own = columns[unit.name], patterns.get(unit.name, ())
                self._by.setdefault(name, []).append(own)
        self._weights = np.array([columns[unit] for unit in plan.weights], np.int64)
        self._elements = Products(factors, [(1, shapes[name]) for name in self._by])
        self._inputs = {n: factors.number(shapes[n][at]) for n, at in inputs.items()}
        self._before = density
        self._bits = {name: 8 * dtypes[name].itemsize for name in self._by}
        self._terms = [(at, t.weight) for at, t in enumerate(plan.terms) if t.weight in self._by]
        self._stored = [(at, name) for at, name in enumerate(stored) if name in self._by]

    def shares(self, sizes: Ids, kept: Ids) -> Shares:
        """Return the shares of weights left by policy, of the tensors where some may be zero.

        Args:
            sizes: What `Factors.values` returned.
            kept: Atoms kept, ``policies x units``.
        """
        less: Bools = kept < self._atoms
        if not less[:, self._weights].any():
            return {name: np.full(len(kept), before) for name, before in self._before.items()}
        elements = np.maximum(self._elements.values(sizes), 1)
        return {
            name: self._before.get(name, 1.0) * self._least(name, elements[:, at], sizes, kept)
            for at, name in enumerate(self._by)
        }

    def _least(self, name: str, elements: Ids, sizes: Ids, kept: Ids) -> Floats:
        least = np.ones(len(kept))
        for column, patterns in self._by[name]:
            # As masks are made: of the share that the policy names, in weights that a cut left.
            gone = np.rint((1.0 - kept[:, column] / self._atoms[column]) * elements)
            left = (elements - gone) / elements
            for n, m in patterns:
                row = np.maximum(sizes[:, self._inputs[name]], 1)
                left = np.maximum(left, (row - row // m * (m - n)) / row)
            whole = kept[:, column] == self._atoms[column]
            least = np.minimum(least, np.where(whole, 1.0, left))
        return least

    def macs(self, macs: Ids, shares: Shares) -> Ids:
        """Return the multiply-adds with weights that are not zero, by policy.

        Args:
            macs: All multiply-adds, ``policies x terms``.
            shares: What `shares` returned.
        """
        total: Ids = macs.sum(axis=1)
        for at, name in self._terms:
            if name in shares:
                own = macs[:, at]
                total = total - own + np.rint(own * shares[name]).astype(np.int64)
        return total

    def saved(self, data: Ids, shares: Shares) -> Ids:
        """Return the bytes that a bit mask and the values that are not zero save, by policy.

        Args:
            data: Bytes of each stored tensor, ``policies x tensors``.
            shares: What `shares` returned.
        """
        saved = np.zeros(len(data), np.int64)
        for at, name in self._stored:
            if name in shares:
                bits = self._bits[name]
                elements = 8 * data[:, at] // bits
                left = np.rint(elements * shares[name]).astype(np.int64)
                stored = -(-elements // 8) + left * bits // 8
                saved += np.maximum(data[:, at] - stored, 0)
        return saved
