"""Build the smaller model in one pass; the dense model stays untouched."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.core.mappings import differing
from autoprune.errors import ModelError
from autoprune.surgery.accept import unwrapped
from autoprune.surgery.adapt import adapt_modules
from autoprune.surgery.blocks import PassThrough
from autoprune.surgery.ids import Ids
from autoprune.surgery.patch import patch_attributes
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied, shapes_of, state_tensors
from autoprune.surgery.units import Cut, inside, staying


def apply(model: nn.Module, plan: Plan, atoms: Mapping[str, Ids]) -> nn.Module:
    """Return a copy of ``model`` without the given atoms of each unit.

    Args:
        model: The dense model that ``plan`` was made for.
        plan: Its plan.
        atoms: Numbers of the atoms to remove, by unit.

    Raises:
        ModelError: If the model does not match the plan or cannot be copied.
    """
    model = unwrapped(model)
    odd = differing(shapes_of(model), plan.shapes)
    if odd:
        raise ModelError(
            f"The plan was made for another model: {', '.join(odd[:3])} differ. "
            "Trace this model, or give the one that was traced."
        )
    return without(model, plan.cut(atoms))


def without(model: nn.Module, cut: Cut) -> nn.Module:
    """Return a copy of ``model`` that lacks the positions and modules of ``cut``.

    Raises:
        ModelError: If a tensor, position or module does not exist or the model cannot be copied.
    """
    memo = _passed_through(model, cut.modules)
    pruned = _copy_with(model, {name: cutter(dims) for name, dims in cut.positions.items()}, memo)
    adapt_modules(pruned, lambda name: any(inside(tensor, name) for tensor in cut.positions))
    patch_attributes(model, pruned, cut.positions)
    return pruned


def _passed_through(model: nn.Module, modules: Iterable[str]) -> dict[int, Any]:
    try:
        return {id(model.get_submodule(name)): PassThrough() for name in modules}
    except AttributeError as err:
        raise ModelError(f"{err}. Is this policy of another model?") from err


Edit = Callable[[torch.Tensor], torch.Tensor]


def cutter(dims: Mapping[int, Ids]) -> Edit:
    """Return what takes positions, given by dimension, out of a tensor."""

    def cut(tensor: torch.Tensor) -> torch.Tensor:
        for dim, gone in dims.items():
            index = _index(tensor.shape[dim], gone.tobytes())
            tensor = tensor.index_select(dim, index.to(tensor.device))
        return tensor

    return cut


@lru_cache(maxsize=256)  # the tensors of a unit share their positions
def _index(size: int, gone: bytes) -> torch.Tensor:
    return torch.from_numpy(staying(size, np.frombuffer(gone, np.int64)))


def _copy_with(model: nn.Module, edits: Mapping[str, Edit], memo: dict[int, Any]) -> nn.Module:
    """Copy ``model``, replacing the named tensors; the memo keeps tied tensors tied."""
    tensors = state_tensors(model)
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
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        new = new.contiguous(memory_format=torch.channels_last)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(new, requires_grad=tensor.requires_grad)
    return new
