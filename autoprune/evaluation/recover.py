"""Bring a pruned model back: statistics of norms first, then some training."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import CosineAnnealingLR

from autoprune.core.recovery import Recovery
from autoprune.errors import CandidateError
from autoprune.evaluation.divergence import divergence
from autoprune.evaluation.measure import to_device
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call
from autoprune.tasks import Task, need_logits

After = Callable[[int, float], None]


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


class FineTuning:
    """Training of one model that may pause: steps taken in parts are the steps of one go.

    Args:
        model: What is trained, in place; in eval mode in the pauses.
        task: Source of the training batches and the loss.
        steps: How many batches there are to the end.
        recovery: Settings of the optimiser.
        device: Where the model is.
        falling: Whether the learning rate falls along a cosine over all steps; else it stays.
        after: Called after each step of the optimiser with the number of the step, from 0, and
            its learning rate.
        teacher: The dense model, whose outputs are learned from too, in eval mode; None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        steps: int,
        recovery: Recovery,
        device: str,
        *,
        falling: bool = True,
        after: After = lambda step, rate: None,
        teacher: nn.Module | None = None,
    ) -> None:
        self._model, self._task, self._device = model, task, device
        self._recovery, self._teacher = recovery, teacher
        self._falling, self._after = falling, after
        self.done = 0
        if steps:  # nothing may be trainable otherwise
            self._optimiser = _sgd(model, recovery)
            self._schedule = CosineAnnealingLR(self._optimiser, steps)
            self._batches = _endless(task)

    def advance(self, steps: int) -> int:
        """Train until ``steps`` steps are done in all; return the samples that took.

        Raises:
            CandidateError: If the loss becomes NaN or infinite.
        """
        if steps <= self.done:
            return 0
        samples = 0
        self._model.train()
        for raw in islice(self._batches, steps - self.done):
            batch = to_device(raw, self._device)
            self._step(batch)
            samples += self._task.samples(batch)
        self._model.eval()
        return samples

    def _step(self, batch: Any) -> None:
        outputs = call(self._model, self._task.inputs(batch))
        loss = self._task.loss(outputs, batch) + self._distilled(outputs, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CandidateError(f"The training loss became {value}.")
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._after(self.done, self._optimiser.param_groups[0]["lr"])
        if self._falling:
            self._schedule.step()
        self.done += 1

    def _distilled(self, outputs: Any, batch: Any) -> torch.Tensor | float:
        """Return what the divergence from the teacher adds to the loss."""
        if self._teacher is None:
            return 0.0
        task = need_logits(self._task, "recovery.distill")
        with evaluating(self._teacher), torch.no_grad():
            taught = task.logits(call(self._teacher, self._task.inputs(batch)))
        softened = divergence(task.logits(outputs), taught, self._recovery.distill_temperature)
        return self._recovery.distill * softened


def fine_tune(
    model: nn.Module, task: Task, steps: int, recovery: Recovery, device: str, **more: Any
) -> int:
    """Train ``model`` in place, in one go; return the number of samples used.

    The arguments are those of `FineTuning`.

    Raises:
        CandidateError: If the loss becomes NaN or infinite.
    """
    return FineTuning(model, task, steps, recovery, device, **more).advance(steps)


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
