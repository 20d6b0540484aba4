"""The training losses of a detector that is in eval mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from autoprune.errors import DataError
from autoprune.surgery.modes import seeded
from autoprune.tasks.loaded import described

_LAYERS = (_NormBase, _DropoutNd)


def total_of(losses: Any) -> Tensor:
    """Return the sum of a detector's losses.

    Raises:
        DataError: If there is no mapping of them.
    """
    if not isinstance(losses, Mapping) or not losses:
        raise DataError(
            "A detector must return a mapping of losses for (images, targets) in training. Got "
            f"{described(losses)}. Give the task 'loss' and 'detections', functions that make "
            "losses and boxes of what yours returns."
        )
    return torch.stack([loss.float() for loss in losses.values()]).sum()


@contextmanager
def telling_losses(model: nn.Module) -> Iterator[None]:
    """Let a detector in eval mode return losses, the same ones for the same weights.

    Detectors choose by their training flag between losses and boxes. It is set where modules
    hold others, but not on layers: norms use their statistics, dropout is off. What is drawn at
    random (proposals of Faster R-CNN) is drawn from a seed of its own.
    """
    composed = [m for m in model.modules() if any(m.children()) and not _is_layer(m)]
    before = [module.training for module in composed]
    try:
        for module in composed:
            module.training = True
        with seeded():
            yield
    finally:
        for module, training in zip(composed, before, strict=True):
            module.training = training


def _is_layer(module: nn.Module) -> bool:
    """Tell what computes by its own flag: PyTorch's modules, and norms that hold activations."""
    ours = type(module).__module__.startswith("torch.nn.")
    return ours or isinstance(module, _LAYERS) or hasattr(module, "running_mean")
