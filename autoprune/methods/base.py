"""What a criterion is, and the registry of them."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from autoprune.core.registry import Registry
from autoprune.surgery.units import Kind, Slice, Unit

Tensors = Mapping[str, torch.Tensor]
PLUG_INS = "autoprune.methods"
SLICED: tuple[Kind, ...] = ("channel", "head")


class Criterion(Protocol):
    """Scores the atoms of a unit; those with the lowest scores are removed first.

    Other packages add one by an entry point of the group ``autoprune.methods`` whose name is the
    criterion's and which leads to an object of this form; `autoprune.testing.methods` tests it.

    Attributes:
        kinds: Kinds of units it ranks; with ``weights`` it is an `ElementCriterion`.
        needs_gradients: Whether it is asked once per calibration batch, with the gradients of the
            task's loss, and the mean of the answers taken; else once, without.
        chunk: Samples that gradients are averaged over for one call; None for whole batches.
        paper: Where the idea comes from, and how this one differs.
    """

    kinds: tuple[Kind, ...] = SLICED
    needs_gradients: bool = False
    chunk: int | None = None
    paper: str

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return one finite score per atom, shape ``[atoms]``, double precision.

        Args:
            unit: The unit, of one of ``kinds``.
            weights: Every parameter and buffer by name.
            gradients: The loss's gradient of every parameter by name; empty unless asked for.
            rng: The only source of random numbers; it depends on the run's seed, the method and
                the unit alone.
        """
        ...


@runtime_checkable
class ElementCriterion(Criterion, Protocol):
    """A criterion that ranks single weights as well, for ``unstructured`` and N:M."""

    kinds: tuple[Kind, ...] = (*SLICED, "weights")

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return one finite score per element of a weight tensor, in its shape.

        Args:
            weight: The tensor, in single precision at least.
            gradient: The loss's gradient of it, zeros where there is none or none was asked for.
            rng: The only source of random numbers.
        """
        ...


CRITERIA: Registry[Criterion] = Registry(
    "criterion", group=PLUG_INS, form=("kinds", "needs_gradients", "chunk", "paper", "score")
)


def per_atom(values: torch.Tensor, part: Slice) -> torch.Tensor:
    """Return the sum of ``values`` over everything each atom owns in one slice, ``[atoms]``."""
    moved = values.detach().double().movedim(part.dim, 0)
    sums = moved.reshape(len(moved), -1).sum(1)
    return sums[torch.from_numpy(part.index).to(sums.device)].sum(1)


def summed(parts: Sequence[torch.Tensor], unit: Unit, weights: Tensors) -> torch.Tensor:
    """Return the sum over slices of a unit, ``[atoms]``; zeros where its weights are if none."""
    if parts:
        return torch.stack(list(parts)).sum(0)
    device = weights[unit.slices[0].tensor].device
    return torch.zeros(unit.atoms, dtype=torch.float64, device=device)


def filters(unit: Unit, tensors: Tensors) -> list[Slice]:
    """Return the slices of a unit that hold the weights which make its atoms.

    Biases and affines of norms are left out, as are tensors that ``tensors`` lacks. A unit without
    such weights is judged by what reads it (a tied weight makes and reads), then by any slice.
    """
    known = [part for part in unit.slices if part.tensor in tensors]
    wide = [part for part in known if tensors[part.tensor].ndim > 1]
    return [part for part in wide if not part.reads] or wide or known


def products(parts: Sequence[Slice], weights: Tensors, gradients: Tensors) -> list[torch.Tensor]:
    """Return ``sum(w * dL/dw)`` per atom for every slice, each of shape ``[atoms]``."""
    return [per_atom(weights[p.tensor].double() * gradients[p.tensor], p) for p in parts]


def gate_derivative(unit: Unit, weights: Tensors, gradients: Tensors) -> torch.Tensor:
    """Return the derivative of the loss by a gate on each atom, where it is read, ``[atoms]``.

    What reads an atom is linear in it, so ``sum(a * dL/da)`` over a batch equals
    ``sum(w * dL/dw)`` over the weights that read it: exact, and no activation is kept. Where no
    weight reads the atoms (the widths of queries and keys, frozen readers), the gate stands behind
    the layers that make them: ``sum(w * dL/dw)`` over their weights, biases and affines.
    """
    known = [part for part in unit.slices if part.tensor in gradients]
    readers = [part for part in known if part.reads]
    return summed(products(readers or known, weights, gradients), unit, weights)
