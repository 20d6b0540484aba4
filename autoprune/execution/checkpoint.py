"""Load trained weights into the dense model, never code."""

import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autoprune.errors import CheckpointError
from autoprune.execution.named import require_checkpoint

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_SHOWN = 3
_DEEPEST = 10  # wrappings in each other; one that holds itself has no end


def load_checkpoint(path: Path, model: nn.Module) -> None:
    """Copy the weights in ``path`` into ``model``, in place; every key and shape must fit.

    ``.safetensors`` files and what ``torch.save`` wrote are read, the latter with weights only.
    Common wrappings (``{"state_dict": ...}``, names that start with ``module.``) are taken off.

    Raises:
        CheckpointError: If the file is missing, holds code, is no checkpoint, or does not fit.
    """
    require_checkpoint(path)
    own = model.state_dict()
    state = _unprefixed(_unwrapped(_read(path), path), own)
    _require_fit(path, state, own)
    model.load_state_dict(state, strict=False)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as err:
            raise CheckpointError(f"{path} is not a safetensors file: {_line(err)}.") from err
    try:
        with warnings.catch_warnings(action="ignore"):  # about forms that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # torch raises many kinds for damaged files
        refused = isinstance(err, pickle.UnpicklingError) and _is_pickle(path)
        raise CheckpointError(_refusal(path) if refused else _unreadable(path, err)) from err


def _is_pickle(path: Path) -> bool:
    """Tell whether ``path`` is a whole pickle, which is only parsed here and never run."""
    if zipfile.is_zipfile(path):
        return True
    try:
        with path.open("rb") as file:
            return len(list(pickletools.genops(file))) > 0
    except ValueError:
        return False


def _refusal(path: Path) -> str:
    return (
        f"{path} holds Python objects beside weights, and reading those can run code, so it is "
        "refused: only weights are loaded. Where you trust the file, convert it once: "
        "torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pt') for a whole "
        "model, or with ['state_dict'] or whatever key holds the weights in its place."
    )


def _unreadable(path: Path, err: Exception) -> str:
    return (
        f"{path} is not a checkpoint that torch.save or safetensors wrote, or it is damaged: "
        f"{_line(err)}. Save the weights again with torch.save(model.state_dict(), FILE)."
    )


def _line(err: Exception) -> str:
    return str(err).strip().partition("\n")[0][:200].rstrip(".") or type(err).__name__


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items()}
        key = next((k for k in _WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if key is None:
            break
        content = content[key]
    found = f"the keys {list(content)[:5]}" if isinstance(content, Mapping) else type(content)
    raise CheckpointError(
        f"{path} must hold a state_dict (names and tensors), alone or under one of "
        f"{', '.join(_WRAPPERS)}. Got {found}. Save it with torch.save(model.state_dict(), FILE)."
    )


def _unprefixed(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        ours = any(name.startswith(prefix) for name in own)
        if not ours and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _require_fit(path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    shapes = [
        f"{name} is {list(state[name].shape)}, not {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        _listed("lacks", [name for name in own if name not in state and name not in counters]),
        _listed("has the unknown", [name for name in state if name not in own]),
        _listed("has other shapes:", shapes),
    ]
    if any(problems):
        raise CheckpointError(
            f"{path} does not fit the model: it {'; it '.join(filter(None, problems))}. "
            "Check that the model is built with the arguments it was trained with."
        )


def _listed(verb: str, items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{verb} {', '.join(items[:_SHOWN])}{more}" if items else ""
