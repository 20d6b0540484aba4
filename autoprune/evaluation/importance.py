"""Score the atoms of every unit once, on the dense model, by every method in use."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import nn

from autoprune.core.policy import Policy
from autoprune.evaluation.measure import to_device
from autoprune.methods import METHODS
from autoprune.methods.base import Tensors
from autoprune.space.schema import kept_atoms
from autoprune.surgery.ids import Ids
from autoprune.surgery.modes import evaluating
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import Plan
from autoprune.tasks import Task


class Importance:
    """The order in which atoms go, by method and unit.

    Args:
        order: Atom numbers from least to most important, by method, by unit.
        samples: Training samples that gradients were taken on.
    """

    def __init__(self, order: Mapping[str, Mapping[str, Ids]], samples: int) -> None:
        self._order = order
        self.samples = samples

    def removed(self, policy: Policy) -> dict[str, Ids]:
        """Return the numbers of the atoms a policy removes, by unit, sorted."""
        gone: dict[str, Ids] = {}
        for unit, choice in policy.items():
            order = self._order[choice.method][unit]
            count = len(order) - kept_atoms(len(order), choice.sparsity)
            if count:
                gone[unit] = np.sort(order[:count])
        return gone


def rank_atoms(
    model: nn.Module, plan: Plan, task: Task, methods: Iterable[str], batches: int, device: str
) -> Importance:
    """Rank the atoms of every unit by each method, in eval mode.

    Args:
        model: The dense model, on ``device``; left as it is.
        plan: Its plan.
        task: Source of the training batches and the loss, for methods that need gradients.
        methods: Registered names.
        batches: Training batches to take gradients on.
        device: Where the model is.
    """
    weights = state_tensors(model)
    criteria = {name: METHODS.get(name) for name in sorted(set(methods))}
    scores = {
        (name, unit.name): criterion.score(unit, weights, {})
        for name, criterion in criteria.items()
        if not criterion.needs_gradients
        for unit in plan.units.values()
    }
    graded = {name: c for name, c in criteria.items() if c.needs_gradients}
    samples = 0
    for raw in islice(task.batches("train"), batches if graded else 0):
        batch = to_device(raw, device)
        gradients = _gradients(model, task, batch)
        samples += task.samples(batch)
        for name, criterion in graded.items():
            for unit in plan.units.values():
                score = criterion.score(unit, weights, gradients)
                key = (name, unit.name)
                scores[key] = score + scores[key] if key in scores else score
    order: dict[str, dict[str, Ids]] = {name: {} for name in criteria}
    for (name, unit_name), score in scores.items():
        order[name][unit_name] = np.argsort(score.cpu().numpy(), kind="stable")
    return Importance(order, samples)


def _gradients(model: nn.Module, task: Task, batch: object) -> Tensors:
    named = {n: p for n, p in model.named_parameters() if p.is_floating_point()}
    with evaluating(model), _unfrozen(named.values()), torch.enable_grad():
        loss = task.loss(model(*task.inputs(batch)), batch)
        grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: g for n, g in zip(named, grads, strict=True) if g is not None}


@contextmanager
def _unfrozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let gradients flow to frozen parameters too, for a while."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
