"""Channel ids: one integer per slot of every dimension of every parameter and buffer.

Two ids that are *joined* stand for slots that must be removed together; a *sealed* id, and all
joined to it, can never be removed. Both are only noted here and solved later (`solve`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Ids = npt.NDArray[np.int64]
NO_ID = -1


@dataclass(frozen=True, slots=True)
class Slot:
    """One dimension of one named tensor; its slots own the ids ``start .. start + size - 1``."""

    tensor: str
    dim: int
    start: int
    size: int


class IdTable:
    """Hands out ids and notes what is joined, sealed and consumed.

    Dimensions of size 1 get no ids: at least one slot of a dimension always stays, so nothing
    could be removed there.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.slots: list[Slot] = []
        self.by_tensor: dict[str, dict[int, Slot]] = {}
        self.edges: list[tuple[Ids, Ids]] = []
        self.seals: list[tuple[Ids, str]] = []
        self.consumed: list[Ids] = []
        self.count = 0
        for name, tensor in tensors.items():
            self.by_tensor[name] = {}
            for dim, size in enumerate(tensor.shape):
                if size > 1:
                    self._add(name, dim, size)

    def _add(self, name: str, dim: int, size: int) -> None:
        slot = Slot(name, dim, self.count, size)
        self.slots.append(slot)
        self.by_tensor[name][dim] = slot
        self.count += size

    def of(self, name: str, dim: int) -> Ids | None:
        """Return the ids of one dimension, or None where its size is 1."""
        slot = self.by_tensor[name].get(dim)
        return None if slot is None else np.arange(slot.start, slot.start + slot.size)

    def at(self, name: str, dim: int, positions: Ids) -> Ids:
        """Return the ids of positions of one dimension."""
        return self.by_tensor[name][dim].start + positions

    def join(self, left: Ids, right: Ids, reason: str) -> None:
        """Join two arrays entry by entry (broadcast); an id that faces none is sealed."""
        left, right = (side.ravel() for side in np.broadcast_arrays(left, right))
        both = (left != NO_ID) & (right != NO_ID)
        self.edges.append((left[both], right[both]))
        self.seal(left[~both], reason)
        self.seal(right[~both], reason)

    def seal(self, ids: Ids, reason: str) -> None:
        """Make ``ids`` and everything joined to them unprunable."""
        real = ids[ids != NO_ID]
        if real.size:
            self.seals.append((real.ravel(), reason))

    def consume(self, ids: Ids) -> None:
        """Note that the slots of ``ids`` read the atom (a weight's input side)."""
        self.consumed.append(ids[ids != NO_ID].ravel())

    def met(self) -> npt.NDArray[np.bool_]:
        """Tell for each id whether any op has joined or sealed it."""
        found = np.zeros(self.count, bool)
        for left, right in self.edges:
            found[left] = found[right] = True
        for sealed, _ in self.seals:
            found[sealed] = True
        return found

    def truncate(self, edges: int, seals: int, consumed: int) -> None:
        """Forget what was noted after the given numbers of entries."""
        del self.edges[edges:], self.seals[seals:], self.consumed[consumed:]
