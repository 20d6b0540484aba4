"""Loss and metric of a model on one split."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoprune.errors import CandidateError
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call, map_tensors
from autoprune.tasks import Split, Task


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one pass over a split gave.

    Args:
        loss: Mean loss per sample.
        quality: The task's metric, higher is better.
        samples: Number of samples seen.
    """

    loss: float
    quality: float
    samples: int


def to_device(batch: Any, device: str) -> Any:
    """Return the batch with every tensor on ``device``."""
    return map_tensors(lambda x: x.to(device, non_blocking=True), batch)


def measure(model: nn.Module, task: Task, split: Split, device: str) -> Measurement:
    """Measure ``model`` (already on ``device``) on a whole split, in eval mode.

    Raises:
        CandidateError: If the loss is NaN or infinite.
        DataError: If the loader fails.
    """
    metric, total, samples = task.metric(), 0.0, 0
    with evaluating(model), torch.no_grad():
        for raw in task.batches(split):
            batch = to_device(raw, device)
            outputs = call(model, task.inputs(batch))
            count = task.samples(batch)
            total += float(task.loss(outputs, batch)) * count
            samples += count
            metric.update(outputs, batch)
    loss = total / samples
    if not math.isfinite(loss):
        raise CandidateError(f"The loss on the {split} split is {loss}.")
    return Measurement(loss, metric.compute(), samples)
