"""Size of gradients: atoms made by weights the loss hardly pulls at go first."""

import numpy as np
import torch

from autoprune.methods.base import (
    CRITERIA,
    ElementCriterion,
    Tensors,
    filters,
    per_atom,
    summed,
)
from autoprune.surgery.units import Unit


class GradientNorm(ElementCriterion):
    """L1 norm of the gradient of all weights that make an atom, every coupled layer included."""

    needs_gradients = True
    paper = (
        "Evci et al. 2020, Rigging the Lottery: Making All Tickets Winners, arXiv:1911.11134, "
        "which lets single weights with the largest gradients grow back. Ours removes the atoms "
        "whose filters have the smallest ones, summed over all coupled layers."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the norm per atom for one batch, shape ``[atoms]``; see `Criterion.score`."""
        sizes = [per_atom(gradients[p.tensor].double().abs(), p) for p in filters(unit, gradients)]
        return summed(sizes, unit, weights)

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return ``|dL/dw|`` for one batch; see `ElementCriterion.elements`."""
        return gradient.abs()


CRITERIA.add("gradient_norm", GradientNorm())
