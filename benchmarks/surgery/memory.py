"""Most memory that building a candidate takes at any time, counted allocation by allocation."""

import tracemalloc
import weakref
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from benchmarks.isolated import Note
from benchmarks.surgery.build import build, smallest_inputs
from benchmarks.surgery.ours import cut_everywhere
from benchmarks.surgery.right import size_of
from benchmarks.surgery.zoo import Model


class AllocationMode(TorchDispatchMode):
    """Counts the bytes of storages that ops make while it is on.

    Attributes:
        live: Bytes of those that still exist.
        peak: Most that existed at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one op and count the storages that are new."""
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self._known.add(leaf.untyped_storage().data_ptr())
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        where, size = storage.data_ptr(), storage.nbytes()
        if size and where not in self._known:
            self._known.add(where)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, where, size)

    def _forget(self, where: int, size: int) -> None:
        self._known.discard(where)
        self.live -= size


def measure(note: Note, model: Model) -> None:
    """Note the bytes of the dense model, of a candidate, and at the peak of building it.

    The peak is the sum of the most that PyTorch held and the most that Python and NumPy held.
    """
    note(stage="discover")
    dense = build(model)
    plan = discover(dense, smallest_inputs(model, dense), np.random.default_rng(0))
    atoms = cut_everywhere(plan)
    note(stage="measure")
    tracemalloc.start()
    with AllocationMode() as mode:
        candidate = apply(dense, plan, atoms)
    _, python_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    note(
        dense_bytes=size_of(dense),
        candidate_bytes=size_of(candidate),
        torch_peak_bytes=mode.peak,
        torch_left_bytes=mode.live,
        python_peak_bytes=python_peak,
    )
