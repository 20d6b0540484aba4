"""Randomness that depends on a seed only, and leaves no trace outside."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch

from autoprune.surgery.modes import cuda_devices


class Randomness:
    """Every source that user code may draw from, seeded once, left and taken up again.

    Args:
        seed: Any 32-bit number.
        loaders: Loaders whose own generators, if they have some, are seeded too.
    """

    def __init__(self, seed: int, *loaders: Any) -> None:
        self._seed, self._loaders = seed, loaders
        self._own: States | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on where the last block ended, and put all back as it was outside afterwards."""
        outside = States(self._loaders)
        renew(self._loaders)  # persistent workers would go on with older seeds
        self._seed_all() if self._own is None else self._own.restore()
        try:
            yield
        finally:
            self._own = States(self._loaders)
            outside.restore()
            renew(self._loaders)

    def _seed_all(self) -> None:
        torch.manual_seed(self._seed)
        random.seed(self._seed)
        np.random.seed(self._seed)
        for generator in _generators(self._loaders):
            generator.manual_seed(self._seed)


def isolated(seed: int, *loaders: Any) -> AbstractContextManager[None]:
    """Seed every source that user code may draw from, and put all back afterwards.

    Args:
        seed: Any 32-bit number.
        loaders: Loaders whose own generators, if they have some, are seeded too.
    """
    return Randomness(seed, *loaders).running()


class States:
    """Where all sources stand now, with the workers that loaders keep.

    Args:
        loaders: Loaders whose own generators are sources too.
    """

    def __init__(self, loaders: Sequence[Any]) -> None:
        self._loaders = loaders
        self._random = to_dict(loaders)
        self._workers = [(loader, getattr(loader, "_iterator", None)) for loader in loaders]

    def restore(self) -> None:
        """Put all sources back to where they stood."""
        restore(self._random, self._loaders)
        for loader, workers in self._workers:
            if workers is not None:
                loader._iterator = workers


def to_dict(loaders: Sequence[Any]) -> dict[str, Any]:
    """Return where all sources stand now: tensors, numbers and lists, for ``torch.save``."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.array(keys, np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(at) for at in cuda_devices()],
        "loaders": [one.get_state() for one in _generators(loaders)],
    }


def restore(stored: Mapping[str, Any], loaders: Sequence[Any]) -> None:
    """Put all sources back to where they stood, in this process or in another."""
    random.setstate(stored["python"])
    kind, keys, *rest = stored["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(stored["torch"].cpu())
    for at, state in enumerate(stored["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state.cpu(), at)
    if not stored["cuda"]:  # CUDA had not begun: it is to begin as it would have
        torch.cuda.manual_seed_all(torch.initial_seed())
    for generator, state in zip(_generators(loaders), stored["loaders"], strict=True):
        generator.set_state(state.cpu())


def renew(loaders: Sequence[Any]) -> None:
    """Have loaders start new workers."""
    for loader in loaders:
        if getattr(loader, "_iterator", None) is not None:
            loader._iterator = None


def _generators(loaders: Sequence[Any]) -> list[torch.Generator]:
    found: dict[int, torch.Generator] = {}
    for loader in loaders:
        batches = getattr(loader, "batch_sampler", None)
        samplers = (getattr(holder, "sampler", None) for holder in (loader, batches))
        for holder in (loader, batches, *samplers):
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator):
                found[id(generator)] = generator
    return list(found.values())
