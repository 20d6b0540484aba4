"""Weights of a pruned model as safetensors; tied tensors are written once, views like others."""

import errno
from collections import OrderedDict
from pathlib import Path
from textwrap import shorten

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoprune.artifacts.files import sha256_of, whole
from autoprune.errors import ArtifactError
from autoprune.surgery.tensors import state_tensors


def save_weights(model: nn.Module, path: Path) -> str:
    """Write the model's state into a file, which is `whole` at any time; return its SHA-256.

    Raises:
        OutputError: If it cannot be written.
    """
    tensors = _apart(model)
    with whole(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # as any new file; safetensors lets its owner alone read it
        try:
            save_file(tensors, partial)
        except safetensors.SafetensorError as err:  # whatever it is of the file
            raise OSError(errno.EIO, str(err)) from err
        partial.chmod(mode)
    return sha256_of(path)


def _apart(model: nn.Module) -> dict[str, Tensor]:
    """Return the state on the CPU, none of it in memory of another: files have no views."""
    saved, seen = set(model.state_dict()), set[int]()
    tensors: dict[str, Tensor] = {}
    for name, tensor in state_tensors(model).items():
        if name in saved:
            own = tensor.detach().cpu().contiguous()
            place = own.untyped_storage().data_ptr()
            tensors[name] = own.clone() if place in seen else own
            seen.add(place)
    return tensors


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
