"""Mixed precision: what is computed with fewer bits, and how its gradients are kept from zero."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from autoprune.core.recovery import Amp
from autoprune.errors import ConfigError
from autoprune.surgery.nested import map_tensors

_NAMES: dict[torch.dtype, Amp] = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
_GAINS = {8: torch.bfloat16, 7: torch.float16}  # from which compute capability on, best first


def precision_of(amp: Amp, device: str) -> torch.dtype | None:
    """Return the type that a forward computes in where it may; None for full precision.

    Raises:
        ConfigError: If the device cannot compute in what is asked for.
    """
    amp = chosen(amp, device)
    if amp == "float16" and torch.device(device).type != "cuda":
        raise ConfigError(
            f"recovery.amp: float16 needs a CUDA device, and the runner's is {device!r}. Write "
            "bfloat16, or auto, which computes in full precision there."
        )
    return next((dtype for dtype, name in _NAMES.items() if name == amp), None)


def chosen(amp: Amp, device: str) -> Amp:
    """Return ``auto`` as what it comes to on a GPU that gains by it, all others as they are."""
    dtype = _of_gpu(device) if amp == "auto" and torch.device(device).type == "cuda" else None
    return _NAMES[dtype] if dtype is not None else amp


def _of_gpu(device: str) -> torch.dtype | None:
    major, _ = torch.cuda.get_device_capability(device)
    return next((dtype for least, dtype in _GAINS.items() if major >= least), None)


class Precision:
    """How forwards and backwards are computed.

    Args:
        dtype: What a forward computes in where it may; None for full precision.
        device: Where it runs.
    """

    def __init__(self, dtype: torch.dtype | None, device: str) -> None:
        self._dtype, self._kind = dtype, torch.device(device).type
        self.scaler = torch.amp.GradScaler(self._kind) if dtype == torch.float16 else None

    def outputs(self, forward: Callable[[], Any]) -> Any:
        """Return what a forward returns, in single precision: losses may need all of it."""
        if self._dtype is None:
            return forward()
        with torch.autocast(self._kind, self._dtype):
            found = forward()
        return map_tensors(_single, found)

    def backward(self, loss: torch.Tensor, optimiser: Optimizer) -> None:
        """Compute the gradients of a loss, at their own scale."""
        if self.scaler is None:
            loss.backward()
            return
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimiser)

    def step(self, optimiser: Optimizer) -> bool:
        """Take a step; False if it was left out, since gradients overflowed at their scale."""
        if self.scaler is None:
            optimiser.step()
            return True
        before = self.scaler.get_scale()
        self.scaler.step(optimiser)
        self.scaler.update()
        return self.scaler.get_scale() >= before


def _single(tensor: torch.Tensor) -> torch.Tensor:
    short = tensor.is_floating_point() and tensor.element_size() < 4
    return tensor.float() if short else tensor
