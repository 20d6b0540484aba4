"""Counts what a search computes, by hooks on the layers, whoever calls them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.module import register_module_forward_hook

BACKWARD = 2  # forwards that a backward pass costs


@dataclass
class Count:
    """Multiply-adds so far, of convolutions and linear layers.

    Args:
        macs: How many; those of a backward pass are counted when it gets there.
    """

    macs: int = 0

    def seen(self, module: nn.Module, _: Any, output: Any) -> None:
        """Take in the call of a layer."""
        if not isinstance(output, Tensor):
            return
        if isinstance(module, _ConvNd | nn.Linear) and not isinstance(module, _ConvTransposeNd):
            self._add(module.weight.shape, output)

    def _add(self, weight: torch.Size, output: Tensor) -> None:
        """Take in what a layer computed; runs no op, for somebody may be tracing the model."""
        if torch.compiler.is_exporting():
            return  # nothing is computed, and a size that is read is a constant from then on
        spent = int(output.numel()) * prod(map(int, weight[1:]))  # tensors while jit traces
        self.macs += spent
        if output.requires_grad and torch.is_grad_enabled():
            output.register_hook(lambda _: self._again(BACKWARD * spent))

    def _again(self, macs: int) -> None:
        self.macs += macs


@contextmanager
def counting() -> Iterator[Count]:
    """Yield the count of whatever is computed meanwhile, in this process, by any model."""
    count = Count()
    handle = register_module_forward_hook(count.seen)
    try:
        yield count
    finally:
        handle.remove()
