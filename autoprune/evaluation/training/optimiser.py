"""The optimiser that models are recovered with, and how its learning rate goes on."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from autoprune.core.recovery import Recovery

_RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # what schedulers keep in an optimiser's groups


def sgd(model: nn.Module, recovery: Recovery) -> SGD:
    """Return SGD with Nesterov's momentum for what is trainable of a model."""
    return SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=recovery.learning_rate,
        momentum=recovery.momentum,
        weight_decay=recovery.weight_decay,
        nesterov=recovery.momentum > 0,
    )


def rate_schedule(optimiser: SGD, recovery: Recovery, steps: int) -> LRScheduler | None:
    """Return what changes the learning rate after each of ``steps`` steps; None if nothing does.

    ``one-cycle`` is that of Smith and Topin 2017, arXiv:1708.07120, as PyTorch has it, but the
    momentum stays.
    """
    if recovery.rate_schedule == "constant":
        return None
    if recovery.rate_schedule == "one-cycle":
        return OneCycleLR(
            optimiser, recovery.learning_rate, total_steps=steps, cycle_momentum=False
        )
    return CosineAnnealingLR(optimiser, steps)


def slow_down(optimiser: SGD, schedule: LRScheduler | None, factor: float) -> None:
    """Multiply the learning rate, now and from now on."""
    for group in optimiser.param_groups:
        group.update({name: group[name] * factor for name in _RATES if name in group})
    if schedule is not None:
        schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]


def take_rates(optimiser: SGD, group: Mapping[str, Any]) -> None:
    """Set the learning rates to those of a stored group, whatever it was the group of."""
    for own in optimiser.param_groups:
        own.update({name: group[name] for name in _RATES if name in group})
