"""Randomness that depends on a seed only, and leaves no trace outside."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def isolated(seed: int, *loaders: Any) -> Iterator[None]:
    """Seed every source that user code may draw from, and put all back afterwards.

    Args:
        seed: Any 32-bit number.
        loaders: Loaders whose own generators, if they have some, are seeded too.
    """
    for loader in loaders:
        if getattr(loader, "_iterator", None) is not None:
            loader._iterator = None  # persistent workers would go on with older seeds
    devices = list(range(torch.cuda.device_count()))
    own = {id(g): g for loader in loaders for g in _generators(loader)}
    states = {key: generator.get_state() for key, generator in own.items()}
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        for generator in own.values():
            generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            for key, generator in own.items():
                generator.set_state(states[key])


def _generators(loader: Any) -> Iterator[torch.Generator]:
    batches = getattr(loader, "batch_sampler", None)
    samplers = (getattr(holder, "sampler", None) for holder in (loader, batches))
    for holder in (loader, batches, *samplers):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            yield generator
