"""Score the atoms of every unit once, on the dense model, by every method in use."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import nn

from autoprune.core.policy import Policy
from autoprune.errors import ConfigError
from autoprune.evaluation.chunks import chunks
from autoprune.evaluation.measure import to_device
from autoprune.methods import METHODS
from autoprune.methods.base import Criterion, Tensors
from autoprune.space.schema import kept_atoms
from autoprune.surgery.ids import Ids
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import Unit
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
    model: nn.Module,
    plan: Plan,
    task: Task,
    methods: Iterable[str],
    batches: int,
    device: str,
    seed: int = 0,
) -> Importance:
    """Rank the atoms of every unit by each method, in eval mode.

    Args:
        model: The dense model, on ``device``; left as it is.
        plan: Its plan.
        task: Source of the training batches and the loss, for methods that need gradients.
        methods: Registered names.
        batches: Training batches to take gradients on.
        device: Where the model is.
        seed: Decides what methods draw at random.

    Raises:
        ConfigError: If a method does not give one finite number for each atom.
    """
    criteria = {name: METHODS.get(name) for name in sorted(set(methods))}
    totals = _Totals(plan, state_tensors(model), seed)
    totals.add({n: c for n, c in criteria.items() if not c.needs_gradients}, {})
    graded = {name: c for name, c in criteria.items() if c.needs_gradients}
    samples = 0
    for raw in islice(task.batches("train"), batches if graded else 0):
        batch = to_device(raw, device)
        whole = task.samples(batch)
        for size, users in _by_chunk(graded, whole).items():
            for part in chunks(batch, whole, size):
                totals.add(users, _gradients(model, task, part))
            samples += whole
    return Importance({name: totals.order(name) for name in criteria}, samples)


class _Totals:
    """Sums of the scores so far, by method and unit."""

    def __init__(self, plan: Plan, weights: Tensors, seed: int) -> None:
        self._units, self._weights, self._seed = plan.of("channel", "head"), weights, seed
        self._sums: dict[tuple[str, str], torch.Tensor] = {}
        self._rngs: dict[tuple[str, str], np.random.Generator] = {}

    def add(self, criteria: Mapping[str, Criterion], gradients: Tensors) -> None:
        """Score every unit by every criterion once more."""
        for name, criterion in criteria.items():
            for unit in self._units.values():
                key = (name, unit.name)
                rng = self._rngs.setdefault(key, _generator(self._seed, *key))
                score = criterion.score(unit, self._weights, gradients, rng)
                _check(score, name, unit)
                self._sums[key] = self._sums[key] + score if key in self._sums else score

    def order(self, name: str) -> dict[str, Ids]:
        """Return the numbers of the atoms by one method, the lowest score first, by unit."""
        sums = {unit: self._sums[name, unit].cpu().numpy() for unit in self._units}
        return {unit: np.argsort(score, kind="stable") for unit, score in sums.items()}


def _by_chunk(criteria: Mapping[str, Criterion], samples: int) -> dict[int, dict[str, Criterion]]:
    """Return the criteria by how many of a batch's ``samples`` their gradients are taken on."""
    found: dict[int, dict[str, Criterion]] = {}
    for name, criterion in criteria.items():
        size = samples if criterion.chunk is None else min(criterion.chunk, samples)
        found.setdefault(size, {})[name] = criterion
    return found


def _generator(seed: int, method: str, unit: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{method} {unit}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _check(score: torch.Tensor, method: str, unit: Unit) -> None:
    if score.shape != (unit.atoms,) or not bool(torch.isfinite(score).all()):
        raise ConfigError(
            f"The method {method!r} ({METHODS.origin(method)}) must give a finite number for each "
            f"of the {unit.atoms} atoms of {unit.name!r}. Got {_describe(score)}. Check that "
            "weights and training loss are finite, or choose another method."
        )


def _describe(score: torch.Tensor) -> str:
    odd = int((~torch.isfinite(score)).sum())
    return f"shape {tuple(score.shape)}" + (f" with {odd} NaN or infinite" if odd else "")


def _gradients(model: nn.Module, task: Task, batch: object) -> Tensors:
    named = {n: p for n, p in model.named_parameters() if p.is_floating_point()}
    with evaluating(model), _unfrozen(named.values()), torch.enable_grad():
        loss = task.loss(call(model, task.inputs(batch)), batch)
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
