"""Weights of a pruned model as safetensors; tied tensors are written once."""

import os
from collections import OrderedDict
from pathlib import Path
from textwrap import shorten

import safetensors
from safetensors.torch import load_file, save_file
from torch import nn

from autoprune.artifacts.files import sha256_of
from autoprune.errors import ArtifactError
from autoprune.surgery.tensors import state_tensors


def save_weights(model: nn.Module, path: Path) -> str:
    """Write the model's state atomically and return the file's SHA-256."""
    saved = set(model.state_dict())
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in state_tensors(model).items()
        if name in saved
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.touch()
    mode = partial.stat().st_mode  # as any new file here; safetensors lets its owner alone read it
    save_file(tensors, partial)
    partial.chmod(mode)
    os.replace(partial, path)
    return sha256_of(path)


def load_weights(model: nn.Module, path: Path, sha256: str) -> None:
    """Load what `save_weights` wrote into a model of the same shapes.

    Raises:
        ArtifactError: If the file is missing, altered, or does not fit the model.
    """
    if not path.is_file():
        raise ArtifactError(f"The weights {path} are missing. Run the search again with resume.")
    if sha256_of(path) != sha256:
        raise ArtifactError(
            f"The weights {path} were altered: their SHA-256 is not the recorded one. "
            "Restore the file or run the search again."
        )
    state = model.state_dict()
    tied = set(state) - set(state_tensors(model))
    try:
        tensors = OrderedDict(load_file(path))
        # Modules may look up the version of what they load; a file of ours is of theirs.
        tensors._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except (RuntimeError, safetensors.SafetensorError) as err:
        reason = shorten(str(err), 400)
        raise ArtifactError(f"The weights {path} do not fit the model: {reason}") from err
    if unexpected or set(missing) - tied:
        raise ArtifactError(
            f"The weights {path} do not fit the model. Missing: "
            f"{sorted(set(missing) - tied)[:3]}; not in the model: {sorted(unexpected)[:3]}. "
            "Was it built by another constructor?"
        )
