"""What a method is, and the registry of them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from autoprune.core.registry import Registry
from autoprune.surgery.units import Slice, Unit

Tensors = Mapping[str, torch.Tensor]


class Criterion(Protocol):
    """Scores the atoms of a unit; those with the lowest scores are removed first.

    Attributes:
        needs_gradients: Whether `score` is called once per calibration batch with the gradients
            of the task's loss, and the mean of the results taken; else once, without.
        paper: Where the idea comes from, and how this one differs.
    """

    needs_gradients: bool
    paper: str

    def score(self, unit: Unit, weights: Tensors, gradients: Tensors) -> torch.Tensor:
        """Return one score per atom, shape ``[atoms]``, double precision.

        Args:
            unit: The unit.
            weights: Every parameter and buffer by name.
            gradients: The loss's gradient of every parameter by name; empty unless asked for.
        """
        ...


METHODS: Registry[Criterion] = Registry("method")


def per_atom(values: torch.Tensor, part: Slice) -> torch.Tensor:
    """Return the sum of ``values`` over everything each atom owns in one slice, ``[atoms]``."""
    moved = values.detach().double().movedim(part.dim, 0).flatten(1)
    own = torch.from_numpy(part.index).to(moved.device)
    return moved.sum(1)[own].sum(1)


def summed(parts: Sequence[torch.Tensor], atoms: int) -> torch.Tensor:
    """Return the sum over the slices of a unit, zeros if there is none, ``[atoms]``."""
    if not parts:
        return torch.zeros(atoms, dtype=torch.float64)
    return torch.stack(list(parts)).sum(0)
