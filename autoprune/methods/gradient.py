"""Gradients of weights: atoms made by weights that matter little to the loss go first."""

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


class Gradient(ElementCriterion):
    """Sum of ``|w * dL/dw|`` over all weights that make an atom, every coupled layer included."""

    needs_gradients = True
    paper = (
        "Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, "
        "arXiv:1906.10771. Ours sums the absolute values of single weights over the filters of "
        "all coupled layers, without squares, and takes gradients of batches."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the sum per atom for one batch, shape ``[atoms]``; see `Criterion.score`."""
        sizes = [
            per_atom((weights[part.tensor].double() * gradients[part.tensor]).abs(), part)
            for part in filters(unit, gradients)
        ]
        return summed(sizes, unit, weights)

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return ``|w * dL/dw|`` for one batch; see `ElementCriterion.elements`."""
        return (weight * gradient).abs()


CRITERIA.add("gradient", Gradient())
