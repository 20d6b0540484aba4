"""Train and eval mode, changed for a while and put back exactly."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
