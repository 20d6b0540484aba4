"""Bring a pruned model back: statistics of norms first, then some training."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoprune.core.recovery import Recovery
from autoprune.errors import CandidateError
from autoprune.evaluation.measure import to_device
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call
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
            call(model, task.inputs(batch))
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


def fine_tune(
    model: nn.Module,
    task: Task,
    steps: int,
    recovery: Recovery,
    device: str,
    *,
    falling: bool = True,
    after: Callable[[int, float], None] = lambda step, rate: None,
) -> int:
    """Train ``model`` in place; return the number of samples used.

    Args:
        model: What is trained, in place; in eval mode afterwards.
        task: Source of the training batches and the loss.
        steps: How many batches; 0 leaves the model alone.
        recovery: Settings of the optimiser.
        device: Where the model is.
        falling: Whether the learning rate falls along a cosine; else it stays.
        after: Called after each step of the optimiser with the number of the step, from 0, and
            its learning rate.

    Raises:
        CandidateError: If the loss becomes NaN or infinite.
    """
    if steps == 0:
        return 0
    optimiser = _sgd(model, recovery)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    samples = 0
    model.train()
    for step, raw in enumerate(islice(_endless(task), steps)):
        batch = to_device(raw, device)
        loss = task.loss(call(model, task.inputs(batch)), batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CandidateError(f"The training loss became {value}.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        after(step, optimiser.param_groups[0]["lr"])
        if falling:
            schedule.step()
        samples += task.samples(batch)
    model.eval()
    return samples


def _sgd(model: nn.Module, recovery: Recovery) -> torch.optim.SGD:
    return torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=recovery.learning_rate,
        momentum=recovery.momentum,
        weight_decay=recovery.weight_decay,
        nesterov=recovery.momentum > 0,
    )


def _endless(task: Task) -> Iterator[Any]:
    while True:
        yield from task.batches("train")
