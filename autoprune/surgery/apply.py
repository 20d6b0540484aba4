"""Build the smaller model in one pass; the dense model stays untouched."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.errors import ModelError
from autoprune.surgery.adapt import adapt_modules
from autoprune.surgery.ids import Ids
from autoprune.surgery.patch import patch_attributes
from autoprune.surgery.tensors import copied, differing, shapes_of, state_tensors
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
    odd = differing(shapes_of(model), plan.shapes)
    if odd:
        raise ModelError(
            f"The plan was made for another model: {', '.join(odd[:3])} differ. "
            "Trace this model, or give the one that was traced."
        )
    return without(model, plan.removed(atoms))


def without(model: nn.Module, removed: Removed) -> nn.Module:
    """Return a copy of ``model`` whose tensors lack the given positions, by tensor and dim.

    Raises:
        ModelError: If a tensor or a position does not exist or the model cannot be copied.
    """
    pruned = _copy_with(model, {name: _cutter(dims) for name, dims in removed.items()})
    adapt_modules(pruned, lambda module: any(_inside(tensor, module) for tensor in removed))
    patch_attributes(model, pruned, removed)
    return pruned


def _inside(tensor: str, module: str) -> bool:
    return tensor.startswith(f"{module}.") if module else True


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
    return copied(model, memo)


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
