"""The named tensors of a model."""

from collections import OrderedDict
from copy import deepcopy
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

from autoprune.errors import ModelError

_ATOMIC = {bool, bytes, float, int, str, type, type(None), FunctionType, BuiltinFunctionType}
_LEFT_OUT = {"_compiled_call_impl"}


def state_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by their first name; tied ones appear once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a deep copy; ``memo`` maps the id of a tensor to what stands for it in the copy.

    Raises:
        ModelError: If the model cannot be copied.
    """
    try:
        return _copied_module(model, {} if memo is None else memo)
    except (TypeError, RuntimeError) as err:
        raise ModelError(
            f"The model cannot be copied with copy.deepcopy: {err} Remove what holds open files, "
            "locks or graph tensors from the module, or build it inside the constructor."
        ) from err


def _copied_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Do what ``copy.deepcopy`` does, several times faster for what modules are made of."""
    kind = type(module)
    if id(module) in memo or not _is_plain(kind):
        found: nn.Module = deepcopy(module, memo)
        return found
    twin: nn.Module = kind.__new__(kind)
    memo[id(module)] = twin
    state = ((k, v) for k, v in module.__dict__.items() if k not in _LEFT_OUT)
    twin.__dict__.update({k: _copied_value(v, memo) for k, v in state})
    return twin


def _is_plain(kind: type[nn.Module]) -> bool:
    """Tell whether copying an instance is copying its attributes.

    What PyTorch's own layers do in ``__setstate__`` is to fill in what old files lack, and
    ``Module.__getstate__`` leaves out what was compiled.
    """
    return (
        not hasattr(kind, "__deepcopy__")
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and kind.__getstate__ is nn.Module.__getstate__
        and kind.__setstate__.__module__.startswith("torch.nn.")
    )


def _copied_value(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _ATOMIC or (kind is tuple and all(type(item) in _ATOMIC for item in value)):
        return value
    if id(value) in memo:
        return memo[id(value)]
    if kind in (dict, OrderedDict):
        twin = memo[id(value)] = kind()
        for key, item in value.items():
            twin[_copied_value(key, memo)] = _copied_value(item, memo)
        return twin
    return _copied_module(value, memo) if isinstance(value, nn.Module) else deepcopy(value, memo)


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer by name."""
    return {name: tuple(tensor.shape) for name, tensor in state_tensors(model).items()}
