"""Fingerprints of models and data, so that nothing measured on others is ever reused."""

import hashlib
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from autoprune.core.fingerprint import fingerprint
from autoprune.evaluation.randomness import isolated
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, call, fresh, tensors_in
from autoprune.surgery.tensors import state_tensors
from autoprune.tasks import Task
from autoprune.tasks.base import SPLITS, identity_of


class _Names(TorchDispatchMode):
    """Notes the name of every op that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one op and note its name."""
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def forward_fingerprint(model: nn.Module, inputs: Inputs) -> str:
    """Return the SHA-256 over the names of the ops of one forward, 64 hex digits.

    It tells two forwards over the same tensors apart, but for numbers written into their code.
    """
    inputs = fresh(inputs)
    with evaluating(model), torch.no_grad(), _Names() as ran:
        call(model, inputs)
    return fingerprint(ran.names)


def dense_fingerprint(model: nn.Module, inputs: Inputs) -> str:
    """Return what tells a dense model apart, by its tensors and its forward, 64 hex digits."""
    return fingerprint([model_fingerprint(model), forward_fingerprint(model, inputs)])


def model_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of every tensor, 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in state_tensors(model).items():
        digest.update(f"{name} ".encode())
        _update(digest, tensor)
    return digest.hexdigest()


def data_fingerprint(task: Task) -> str:
    """Return the SHA-256 over task, size and first batch of every split, 64 hex digits.

    Loaders may shuffle or augment: they are seeded, always with the same number.
    """
    digest = hashlib.sha256(fingerprint(identity_of(task)).encode())
    for split in SPLITS:
        digest.update(f"{split} {_length(task.loader(split))} ".encode())
        with isolated(0, task.loader(split)):
            batch = next(iter(task.batches(split)))
        for tensor in tensors_in(batch):
            _update(digest, tensor)
    return digest.hexdigest()


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a stream: it has no length, or no dataset with one
        return None


def _update(digest: Any, tensor: torch.Tensor) -> None:
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    digest.update(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
