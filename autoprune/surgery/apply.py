"""Build the smaller model in one pass; the dense model stays untouched."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.errors import ModelError
from autoprune.surgery.ids import Ids
from autoprune.surgery.patch import patch_attributes
from autoprune.surgery.trace import state_tensors
from autoprune.surgery.units import Plan

Removed = Mapping[str, Mapping[int, Ids]]


def apply(model: nn.Module, plan: Plan, atoms: Mapping[str, Ids]) -> nn.Module:
    """Return a copy of ``model`` without the given atoms of each unit.

    Args:
        model: The dense model that ``plan`` was made for.
        plan: Its plan.
        atoms: Numbers of the atoms to remove, by unit.

    Raises:
        ModelError: If the model does not match the plan or cannot be copied.
    """
    return without(model, plan.removed(atoms))


def without(model: nn.Module, removed: Removed) -> nn.Module:
    """Return a copy of ``model`` whose tensors lack the given positions, by tensor and dim.

    Raises:
        ModelError: If a tensor or a position does not exist or the model cannot be copied.
    """
    pruned = _copy_with(model, {name: _cutter(dims) for name, dims in removed.items()})
    patch_attributes(model, pruned)
    return pruned


Edit = Callable[[torch.Tensor], torch.Tensor]


def _cutter(dims: Mapping[int, Ids]) -> Edit:
    def cut(tensor: torch.Tensor) -> torch.Tensor:
        for dim, gone in dims.items():
            stay = np.delete(np.arange(tensor.shape[dim]), gone)
            tensor = tensor.index_select(dim, torch.from_numpy(stay).to(tensor.device))
        return tensor

    return cut


def _copy_with(model: nn.Module, edits: Mapping[str, Edit]) -> nn.Module:
    """Copy ``model``, replacing the named tensors; the memo keeps tied tensors tied."""
    tensors = state_tensors(model)
    memo: dict[int, Any] = {}
    for name, edit in edits.items():
        if name not in tensors:
            raise ModelError(f"The model has no tensor {name!r}. Is this policy of another model?")
        memo[id(tensors[name])] = _edited(name, tensors[name], edit)
    try:
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError) as err:
        raise ModelError(
            f"The model cannot be copied with copy.deepcopy: {err} Remove what holds open files, "
            "locks or graph tensors from the module, or build it inside the constructor."
        ) from err


def _edited(name: str, tensor: torch.Tensor, edit: Edit) -> torch.Tensor:
    try:
        new = edit(tensor.detach())
    except IndexError as err:
        raise ModelError(
            f"The tensor {name!r} has shape {tuple(tensor.shape)}, which does not fit the plan. "
            "Is this policy of another model?"
        ) from err
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(new, requires_grad=tensor.requires_grad)
    return new
