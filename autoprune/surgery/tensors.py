"""The named tensors of a model."""

import copy
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
        return copy.deepcopy(model, {} if memo is None else memo)
    except (TypeError, RuntimeError) as err:
        raise ModelError(
            f"The model cannot be copied with copy.deepcopy: {err} Remove what holds open files, "
            "locks or graph tensors from the module, or build it inside the constructor."
        ) from err


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer by name."""
    return {name: tuple(tensor.shape) for name, tensor in state_tensors(model).items()}


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Return the names that are in one mapping only or stand for something else, sorted."""
    return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
