"""Mixed precision: what is computed with fewer bits, and how its gradients are kept from zero."""

from contextlib import nullcontext
from typing import Any

import torch
from torch.optim import Optimizer

from autoprune.core.recovery import Amp
from autoprune.errors import ConfigError

_GAINS = {8: torch.bfloat16, 7: torch.float16}  # from which compute capability on, best first


def precision_of(amp: Amp, device: str) -> torch.dtype | None:
    """Return the type that a forward computes in where it may; None for full precision.

    Raises:
        ConfigError: If the device cannot compute in what is asked for.
    """
    on_gpu = torch.device(device).type == "cuda"
    if amp == "auto":
        return _of_gpu(device) if on_gpu else None
    if amp == "float16" and not on_gpu:
        raise ConfigError(
            f"recovery.amp: float16 needs a CUDA device, and the runner's is {device!r}. Write "
            "bfloat16, or auto, which computes in full precision there."
        )
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(amp)


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

    def forward(self) -> Any:
        """Return the context that forwards and losses are computed in."""
        return nullcontext() if self._dtype is None else torch.autocast(self._kind, self._dtype)

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
