"""What single weights set to zero save where zeros are skipped or not stored."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from autoprune.core.arrays import Floats
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan


class Sparsity:
    """Shares of weights that are not zero, and what follows from them.

    Where several units set weights of one tensor to zero, they are taken to choose
    independently.

    Args:
        plan: The plan.
        units: Names of the units, in the order of the columns of policies.
        tensors: Names of the stored tensors, in the order of the columns of data.
        dtypes: Type by tensor.
        density: Share that is not zero before anything is done, by tensor.
    """

    def __init__(
        self,
        plan: Plan,
        units: Sequence[str],
        tensors: Sequence[str],
        dtypes: Mapping[str, torch.dtype],
        density: Mapping[str, float],
    ) -> None:
        self._atoms = np.array([plan.atoms[unit] for unit in units], np.float64)
        self._bits = np.array([8 * dtypes[name].itemsize for name in tensors])
        columns = {unit: number for number, unit in enumerate(units)}
        of: dict[str, list[int]] = {}
        for unit in plan.weights.values():
            for name in unit.members:
                of.setdefault(name, []).append(columns[unit.name])
        self._tensors = [(at, of.get(n, []), density.get(n, 1.0)) for at, n in enumerate(tensors)]
        weights = [term.weight or "" for term in plan.terms]
        self._terms = [(at, of.get(n, []), density.get(n, 1.0)) for at, n in enumerate(weights)]

    def macs(self, macs: Ids, kept: Ids) -> Ids:
        """Return the multiply-adds with weights that are not zero, by policy.

        Args:
            macs: All multiply-adds, ``policies x terms``.
            kept: Atoms kept, ``policies x units``.
        """
        total: Ids = macs.sum(axis=1)
        for at, share in self._shares(kept, self._terms):
            total = total - macs[:, at] + np.rint(macs[:, at] * share).astype(np.int64)
        return total

    def saved(self, data: Ids, kept: Ids) -> Ids:
        """Return the bytes that a bit mask and the values that are not zero save, by policy.

        Args:
            data: Bytes of each stored tensor, ``policies x tensors``.
            kept: Atoms kept, ``policies x units``.
        """
        saved = np.zeros(len(data), np.int64)
        for at, share in self._shares(kept, self._tensors):
            elements = 8 * data[:, at] // self._bits[at]
            left = np.rint(elements * share).astype(np.int64)
            stored = -(-elements // 8) + left * self._bits[at] // 8
            saved += np.maximum(data[:, at] - stored, 0)
        return saved

    def _shares(
        self, kept: Ids, entries: Sequence[tuple[int, Sequence[int], float]]
    ) -> list[tuple[int, Floats]]:
        """Return the share of weights left by policy, for the columns where some may be zero."""
        share = kept / self._atoms
        return [
            (at, before * share[:, list(columns)].prod(axis=1))
            for at, columns, before in entries
            if columns or before < 1
        ]
