"""Statistics of batch norms, taken anew."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoprune.evaluation.measuring.measure import to_device
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import forward
from autoprune.tasks import Task


def recalibrate(model: nn.Module, task: Task, batches: int, device: str) -> int:
    """Replace the running statistics of batch norms by means over training batches.

    Li et al. 2020, EagleEye, arXiv:2007.02491. Returns the number of samples used, 0 if the
    model has no batch norm with statistics.
    """
    norms = norms_of(model)
    if not norms:
        return 0
    samples = 0
    with evaluating(model), averaging(norms.values()), torch.no_grad():
        for raw in islice(task.batches("train"), batches):
            batch = to_device(raw, device)
            forward(model, task.inputs(batch))
            samples += task.samples(batch)
    return samples


def norms_of(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch norms with running statistics by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    }


@contextmanager
def averaging(norms: Iterable[_BatchNorm]) -> Iterator[None]:
    """Let batch norms start afresh and take means over what runs; they end in eval mode."""
    momenta = [(norm, norm.momentum) for norm in norms]
    try:
        for norm, _ in momenta:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean
            norm.training = True
        yield
    finally:
        for norm, momentum in momenta:
            norm.momentum, norm.training = momentum, False
