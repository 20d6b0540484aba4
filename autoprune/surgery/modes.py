"""Modes of a model and the state of randomness, changed for a while and put back exactly."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into eval mode, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def switched(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Set the training flag of single modules, by name, and clear it afterwards."""
    chosen = [module for name, module in model.named_modules() if name in set(names)]
    for module in chosen:
        module.training = True
    try:
        yield
    finally:
        for module in chosen:
            module.training = False


@contextmanager
def seeded() -> Iterator[None]:
    """Let what draws at random draw the same each time, and put all back afterwards."""
    devices = cuda_devices()
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(0)  # `torch.manual_seed` leaves a seed for CUDA
        if devices:
            torch.cuda.manual_seed_all(0)
        yield


def cuda_devices() -> range:
    """Return the numbers of the CUDA devices that may have been drawn from.

    To ask for their state starts CUDA, and then no worker process can be forked any more.
    """
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
