"""Train the dense model while the atoms that are to be cut fade away."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from autoprune.core.policy import Policy
from autoprune.core.recovery import Recovery
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.methods.base import Tensors, per_atom
from autoprune.methods.regularised import Power, penalty
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.units import Slice, Unit
from autoprune.tasks import Task


def penalties(policy: Policy) -> dict[str, Power]:
    """Return the power of the penalty by unit, for the units with a regularised criterion."""
    powers = {name: penalty(name) for name in {choice.method for choice in policy.values()}}
    return {unit: power for unit, c in policy.items() if (power := powers[c.method]) is not None}


def shrink(
    model: nn.Module,
    plan: Plan,
    atoms: Mapping[str, Ids],
    powers: Mapping[str, Power],
    task: Task,
    recovery: Recovery,
    device: str,
    teacher: nn.Module | None = None,
) -> int:
    """Train a dense model in place, with a proximal step on the given atoms after each step.

    Args:
        model: A copy of the dense model, on ``device``.
        plan: The plan of the dense model.
        atoms: Numbers of the atoms to shrink, by unit.
        powers: Power of the penalty, by unit; others are left alone.
        task: Source of the training batches and the loss.
        recovery: Steps, strength and schedule, and the settings of the optimiser, whose learning
            rate stays as it starts.
        device: Where the model is.
        teacher: The dense model as it was, which a task without a loss learns from.

    Returns:
        The number of samples used.

    Raises:
        CandidateError: If the loss becomes NaN or infinite.
    """
    parameters = {n: p for n, p in model.named_parameters() if p.is_floating_point()}
    own = [(plan.units[name], atoms[name], power) for name, power in powers.items()]

    def fade(step: int, rate: float) -> None:
        amount = rate * recovery.shrink_strength * growth(recovery, step)
        for unit, gone, power in own:
            proximal(unit, gone, parameters, power, amount)

    steady = replace(recovery.of_scores(), rate_schedule="constant")
    steps = recovery.shrink_steps
    return fine_tune(model, task, steps, steady, device, after=fade, teacher=teacher)


def growth(recovery: Recovery, step: int) -> float:
    """Return which share of the full strength holds at a step, in ``(0, 1]``; steps start at 0."""
    share = (step + 1) / recovery.shrink_steps
    if recovery.shrink_schedule == "linear":
        return share
    if recovery.shrink_schedule == "cosine":
        return (1 - math.cos(math.pi * share)) / 2
    return 1.0


def proximal(unit: Unit, gone: Ids, parameters: Tensors, power: Power, amount: float) -> None:
    """Take the proximal step of a penalty on some atoms of a unit, in place.

    Args:
        unit: The unit.
        gone: Numbers of the atoms.
        parameters: Parameters by name; slices of others, such as running means, are left alone.
        power: 1 draws every single weight towards zero by ``amount``; 2 (group lasso) draws the
            norm of everything an atom owns towards zero by ``amount * sqrt(its size)``.
        amount: Learning rate times strength.
    """
    parts = [part for part in unit.slices if part.tensor in parameters]
    with torch.no_grad():
        scale = None if power == 1 else _scale(unit, gone, parts, parameters, amount)
        for part in parts:
            tensor = parameters[part.tensor]
            at = torch.from_numpy(part.index[gone].ravel()).to(tensor.device)
            values = tensor.index_select(part.dim, at)
            if scale is None:
                values = values.sign() * (values.abs() - amount).clamp_min(0)
            else:
                slots = scale.repeat_interleave(part.index.shape[1]).to(tensor)
                values = values * slots.view(-1, *(1,) * (tensor.ndim - part.dim - 1))
            tensor.index_copy_(part.dim, at, values)


def _scale(
    unit: Unit, gone: Ids, parts: list[Slice], parameters: Tensors, amount: float
) -> torch.Tensor:
    """Return what the group lasso multiplies each atom in ``gone`` with."""
    squares = torch.stack([per_atom(parameters[p.tensor].double().square(), p) for p in parts])
    norms = squares.sum(0)[torch.from_numpy(gone)].sqrt()
    size = sum(parameters[p.tensor].select(p.dim, 0).numel() * p.index.shape[1] for p in parts)
    return (1 - amount * math.sqrt(size) / norms.clamp_min(1e-30)).clamp_min(0)
