"""Tensors in nested values: lists, tuples, dicts, dataclasses, and what PyTorch's pytrees know.

Inputs of a forward are a sequence of positional arguments or a mapping of keyword arguments.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

Inputs = Sequence[Any] | Mapping[str, Any]


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield every tensor in a nested value, in a fixed order."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            yield leaf
        elif is_dataclass(leaf) and not isinstance(leaf, type):
            yield from tensors_in([getattr(leaf, field.name) for field in fields(leaf)])


def floats_in(value: Any) -> list[torch.Tensor]:
    """Return the floating-point tensors in a nested value."""
    return [tensor for tensor in tensors_in(value) if tensor.is_floating_point()]


def map_tensors(change: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """Return a nested value with each tensor changed and everything else as it is."""
    leaves, form = tree_flatten(value)
    return tree_unflatten([_mapped(change, leaf) for leaf in leaves], form)


def fresh(value: Any) -> Any:
    """Return a nested value with copies of its tensors: a forward may change what it is given."""
    return map_tensors(torch.clone, value)


def _mapped(change: Callable[[torch.Tensor], torch.Tensor], leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return change(leaf)
    if is_dataclass(leaf) and not isinstance(leaf, type):
        own = {field.name: getattr(leaf, field.name) for field in fields(leaf) if field.init}
        return replace(leaf, **{name: map_tensors(change, part) for name, part in own.items()})
    return leaf


def arguments(inputs: Any) -> Inputs:
    """Return arguments of one forward; anything but a sequence or a mapping is the only one."""
    return inputs if isinstance(inputs, Sequence | Mapping) else (inputs,)


def listed(inputs: Inputs) -> list[torch.Tensor] | None:
    """Return the samples of a forward that takes a list of them, as detectors do; else None."""
    if isinstance(inputs, Mapping) or not inputs or not isinstance(inputs[0], list):
        return None
    first: list[torch.Tensor] = inputs[0]
    return first if len(inputs) == 1 and all(isinstance(x, torch.Tensor) for x in first) else None


def one_of(inputs: Inputs) -> Inputs:
    """Return the inputs with one sample where a forward takes a list of them, else as they are."""
    samples = listed(inputs)
    return inputs if samples is None else ([samples[0]],)


def call(model: Callable[..., Any], inputs: Inputs) -> Any:
    """Return ``model(*inputs)``, or ``model(**inputs)`` for a mapping."""
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def forward(model: Callable[..., Any], inputs: Inputs) -> Any:
    """Do the same with copies of the tensors in ``inputs``: a forward may change them."""
    return call(model, fresh(inputs))


def describe(inputs: Inputs) -> str:
    """Return shapes and types of the tensors in ``inputs``, for messages."""
    shapes = [
        f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        for tensor in tensors_in(inputs)
    ]
    return ", ".join(shapes) or "no tensor"
