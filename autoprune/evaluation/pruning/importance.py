"""Score the atoms of every unit once, on the dense model, by every method in use."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import nn

from autoprune.core.policy import Policy
from autoprune.core.structure import split_method
from autoprune.evaluation.measuring.dense_outputs import outputs_of
from autoprune.evaluation.measuring.measure import to_device
from autoprune.evaluation.pruning.totals import Totals
from autoprune.methods import Method, find_method
from autoprune.methods.base import Tensors
from autoprune.space.schema import kept_atoms
from autoprune.surgery.ids import Ids
from autoprune.surgery.modes import evaluating
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import state_tensors
from autoprune.tasks import Task
from autoprune.tasks.chunks import chunks
from autoprune.tasks.splits import in_split


class Importance:
    """The order in which atoms go, by method and unit.

    Args:
        order: Atom numbers from least to most important, by method, by unit.
        elements: Scores of single weights, by `Method.key`, by tensor, each in its shape.
        samples: Training samples that gradients were taken on.
    """

    def __init__(
        self,
        order: Mapping[str, Mapping[str, Ids]],
        elements: Mapping[str, Tensors],
        samples: int,
    ) -> None:
        self._order = order
        self.elements = elements
        self.samples = samples

    def removed(self, policy: Policy) -> dict[str, Ids]:
        """Return the numbers of the atoms a policy removes, by unit, sorted."""
        gone: dict[str, Ids] = {}
        for unit, choice in policy.items():
            if split_method(choice.method)[0].removes:
                order = self._order[choice.method][unit]
                count = len(order) - kept_atoms(len(order), choice.sparsity)
                if count:
                    gone[unit] = np.sort(order[:count])
        return gone


def rank_atoms(
    model: nn.Module,
    plan: Plan,
    task: Task | None,
    methods: Iterable[str],
    batches: int,
    device: str,
    seed: int = 0,
) -> Importance:
    """Rank the atoms of every unit by each method that fits its kind, in eval mode.

    Args:
        model: The dense model, on ``device``; left as it is.
        plan: Its plan.
        task: Source of the training batches and the loss, for methods that need gradients; None
            where no method does.
        methods: Names of methods.
        batches: Training batches to take gradients on.
        device: Where the model is.
        seed: Decides what methods draw at random.

    Raises:
        ConfigError: If there is no such method, or one does not give one finite number for each
            atom or element.
    """
    used = {method.key: method for method in map(find_method, sorted(set(methods)))}
    totals = Totals(plan, state_tensors(model), seed)
    totals.add({n: m for n, m in used.items() if not m.criterion.needs_gradients}, {})
    graded = {name: m for name, m in used.items() if m.criterion.needs_gradients}
    samples = 0
    if task is not None and graded:
        for raw in islice(task.batches("train"), batches):
            batch = to_device(raw, device)
            whole = task.samples(batch)
            for size, users in _by_chunk(graded, whole).items():
                for part in chunks(batch, whole, size):
                    totals.add(users, _gradients(model, task, part))
                samples += whole
    order = {key: _order(totals.of(key)) for key, method in used.items() if method.removes}
    elements = {key: totals.of(key) for key, method in used.items() if not method.removes}
    return Importance(order, elements, samples)


def _order(scores: Tensors) -> dict[str, Ids]:
    """Return the numbers of the atoms, the lowest score first, by unit."""
    return {unit: np.argsort(s.cpu().numpy(), kind="stable") for unit, s in scores.items()}


def _by_chunk(methods: Mapping[str, Method], samples: int) -> dict[int, dict[str, Method]]:
    """Return the methods by how many of a batch's ``samples`` their gradients are taken on."""
    found: dict[int, dict[str, Method]] = {}
    for name, method in methods.items():
        chunk = method.criterion.chunk
        found.setdefault(samples if chunk is None else min(chunk, samples), {})[name] = method
    return found


def _gradients(model: nn.Module, task: Task, batch: object) -> Tensors:
    named = {n: p for n, p in model.named_parameters() if p.is_floating_point()}
    with evaluating(model), _unfrozen(named.values()), torch.enable_grad():
        outputs = outputs_of(task, model, batch, "train")
        with in_split("train"):
            loss = task.loss(outputs, batch)
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
