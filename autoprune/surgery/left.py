"""Ops that average, compare or normalise over channels, run over those that are left."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from autoprune.surgery.op import Op
from autoprune.surgery.rules.grouping import whole_groups

if TYPE_CHECKING:
    from autoprune.surgery.mask import MaskMode

Run = Callable[["MaskMode", Any, Op], Any]


def _reduction(mode: "MaskMode", func: Any, op: Op) -> Any:
    data = op.arg("self")
    dims = (op.arg("dim") if op.has("dim") else None) or range(data.ndim)
    return _again(func, op, _selected(data, _kept(mode, data, dims)))


def _softmax(mode: "MaskMode", func: Any, op: Op) -> Any:
    data = op.arg("self")
    kept = _kept(mode, data, [op.arg("dim")])
    return _spread(_again(func, op, _selected(data, kept)), kept, data.shape)


def _layer_norm(mode: "MaskMode", func: Any, op: Op) -> Any:
    """Normalise over what is left of each normalised axis."""
    data, count = op.arg("input"), len(op.arg("normalized_shape"))
    kept = _kept(mode, data, range(data.ndim - count, data.ndim))
    inner = {axis - data.ndim + count: index for axis, index in kept.items()}
    vectors = _vectors(op, inner)
    chosen = _selected(data, kept)
    out, *rest = func(chosen, list(chosen.shape[-count:]), *vectors, op.arg("eps"))
    return (_spread(out, kept, data.shape), *rest)


def _group_norm(mode: "MaskMode", func: Any, op: Op) -> Any:
    data, groups, channels = op.arg("input"), op.arg("group"), op.arg("C")
    kept = _kept(mode, data, [1])
    chosen = _selected(data, kept).contiguous()
    if whole_groups(groups, channels // groups):
        groups = groups * chosen.shape[1] // channels
    vectors = _vectors(op, {axis - 1: index for axis, index in kept.items()})
    sizes = (op.arg("N"), chosen.shape[1], op.arg("HxW"), groups, op.arg("eps"))
    out, *rest = func(chosen, *vectors, *sizes)
    return (_spread(out, kept, data.shape), *rest)


def _vectors(op: Op, kept: Mapping[int, torch.Tensor]) -> list[torch.Tensor | None]:
    """Return what is left of the weight and the bias of a norm."""
    vectors = (op.arg("weight"), op.arg("bias"))
    return [None if vector is None else _selected(vector, kept) for vector in vectors]


def _again(func: Any, op: Op, data: torch.Tensor) -> Any:
    names = [argument.name for argument in func._schema.arguments if not argument.kwarg_only]
    named = {a.name: op.arg(a.name) for a in func._schema.arguments if a.kwarg_only}
    return func(*[data if name == "self" else op.arg(name) for name in names], **named)


def _kept(mode: "MaskMode", data: torch.Tensor, dims: Iterable[int]) -> Mapping[int, torch.Tensor]:
    """Return the places that are left by axis, for each of ``dims`` that lost any."""
    found = {dim % data.ndim: mode.kept(data, dim % data.ndim) for dim in dims}
    return {axis: places for axis, places in found.items() if places is not None}


def _selected(data: torch.Tensor, kept: Mapping[int, torch.Tensor]) -> torch.Tensor:
    for axis, places in kept.items():
        data = data.index_select(axis, places)
    return data


def _spread(
    data: torch.Tensor, kept: Mapping[int, torch.Tensor], shape: torch.Size
) -> torch.Tensor:
    """Put ``data`` back to the places it was selected from; the others are zero."""
    for axis, places in kept.items():
        full = list(data.shape)
        full[axis] = shape[axis]
        data = data.new_zeros(full).index_copy(axis, places, data)
    return data


OVER_WHAT_IS_LEFT: dict[str, Run] = {
    "aten.native_group_norm": _group_norm,
    "aten.native_layer_norm": _layer_norm,
    "aten._softmax": _softmax,
    "aten._log_softmax": _softmax,
    **dict.fromkeys(
        ["aten.mean", "aten.amax", "aten.amin", "aten.var", "aten.var_mean", "aten.std"],
        _reduction,
    ),
}
