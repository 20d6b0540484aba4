"""Inputs and outputs of convolutions and linear layers as rows of a linear regression."""

from math import prod
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.parametrize import is_parametrized

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def is_linear(module: nn.Module) -> TypeGuard[Layer]:
    """Tell whether a module gives a linear map of what it reads, as PyTorch's own layers do."""
    kinds = (nn.Linear, *_CONVOLUTIONS)
    if not any(isinstance(module, k) and type(module).forward is k.forward for k in kinds):
        return False
    hooked = module._forward_pre_hooks or module._forward_hooks
    return not is_parametrized(module) and not hooked


def grid(layer: Layer, output: Tensor) -> tuple[int, ...]:
    """Return the places at which a layer gives all of its outputs: samples and positions.

    It is empty for a single sample without an axis of its own.
    """
    if isinstance(layer, nn.Linear):
        return tuple(output.shape[:-1])
    batched = output.ndim == len(layer.kernel_size) + 2
    return (output.shape[0], *output.shape[2:]) if batched else ()


def row_size(layer: Layer) -> int:
    """Return how many numbers a layer reads at one place."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return layer.in_channels * prod(layer.kernel_size)


def outputs_at(layer: Layer, output: Tensor, at: Tensor) -> Tensor:
    """Return what a layer gives at some places.

    Args:
        layer: The layer.
        output: What it gives: ``samples x outputs x positions`` of a convolution,
            ``... x outputs`` of a linear layer.
        at: Numbers of places of `grid`.

    Returns:
        ``places x outputs``.
    """
    index = torch.unravel_index(at, grid(layer, output))
    last = output.movedim(1, -1) if isinstance(layer, _CONVOLUTIONS) else output
    return last[index]


def inputs_at(layer: Layer, value: Tensor, at: Tensor, expected: tuple[int, ...]) -> Tensor | None:
    """Return what a layer reads at some places of a grid.

    Returns:
        ``groups x places x inputs of a group``, in the order of a row of the weight; None where
        its grid is another one.
    """
    if isinstance(layer, nn.Linear):
        own, last, groups = value.shape[:-1], value, 1
    elif value.ndim != len(layer.kernel_size) + 2:
        return None
    else:
        last, groups = _patches(layer, value), layer.groups
        own = last.shape[: value.ndim - 1]
    if tuple(own) != expected:
        return None
    rows = last[torch.unravel_index(at, expected)]
    return rows.reshape(len(at), groups, -1).transpose(0, 1)


def _patches(layer: Any, value: Tensor) -> Tensor:
    """Return a view of what a convolution reads: ``samples x positions x channels x kernel``."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    value = pad(value, _margins(layer), mode=mode)
    kernel, step, gap = layer.kernel_size, layer.stride, layer.dilation
    sides = [
        (size - g * (k - 1) - 1) // s + 1
        for size, k, s, g in zip(value.shape[2:], kernel, step, gap, strict=True)
    ]
    sample, channel, *along = value.stride()
    moves = [by * s for by, s in zip(along, step, strict=True)]
    inside = [by * g for by, g in zip(along, gap, strict=True)]
    shape = (value.shape[0], *sides, value.shape[1], *kernel)
    return value.as_strided(shape, (sample, *moves, channel, *inside))


def _margins(layer: Any) -> list[int]:
    """Return what is added at the borders, the last dimension first, as `pad` wants it."""
    kernel, gap, given = layer.kernel_size, layer.dilation, layer.padding
    if given == "valid":
        return [0] * (2 * len(kernel))
    both = [
        (g * (k - 1) // 2, g * (k - 1) - g * (k - 1) // 2) if given == "same" else (given[at],) * 2
        for at, (k, g) in enumerate(zip(kernel, gap, strict=True))
    ]
    return [margin for pair in reversed(both) for margin in pair]
