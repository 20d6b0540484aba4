"""A moving average of weights, which is often worth more than where training stands."""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the average of a model's weights; call its ``update_parameters`` after each step.

    It starts with the weights after the first step. After ``n`` steps a step counts by
    ``1 - min(decay, n / (9 + n))``, so that a short training does not end with the weights it
    began with. Statistics of norms are averaged alike; whole numbers are taken over.
    """

    def update(average: Any, now: Any, steps: Any) -> None:
        weight = 1 - min(decay, float(steps) / (9 + float(steps)))
        for mean, tensor in zip(average, now, strict=True):
            if mean.is_floating_point():
                mean.lerp_(tensor, weight)
            else:
                mean.copy_(tensor)

    with torch.no_grad():
        found = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    found.eval()
    return found
