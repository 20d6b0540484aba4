"""The named tensors of a model."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from autoprune.errors import ModelError


def state_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by their first name; tied ones appear once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a deep copy; ``memo`` maps the id of a tensor to what stands for it in the copy.

    Raises:
        ModelError: If the model cannot be copied.
    """
    try:
        return copy.deepcopy(model, _simple(model) | (memo or {}))
    except (TypeError, RuntimeError) as err:
        raise ModelError(
            f"The model cannot be copied with copy.deepcopy: {err} Remove what holds open files, "
            "locks or graph tensors from the module, or build it inside the constructor."
        ) from err


def _simple(model: nn.Module) -> dict[int, Any]:
    """Return copies of what needs no walk: a module has a dozen empty hook tables.

    Copying those by the general way takes most of the time of building a candidate.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            kind = type(value)
            if kind in (dict, OrderedDict, set) and not value:
                memo[id(value)] = kind()
            elif kind is tuple and all(type(entry) is int for entry in value):
                memo[id(value)] = value
    return memo


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer by name."""
    return {name: tuple(tensor.shape) for name, tensor in state_tensors(model).items()}


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Return the names that are in one mapping only or stand for something else, sorted."""
    return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
