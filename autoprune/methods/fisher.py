"""Group Fisher: atoms whose removal the loss is least curved along go first."""

import numpy as np
import torch

from autoprune.methods.base import CRITERIA, ElementCriterion, Tensors, gate_derivative
from autoprune.surgery.units import Unit

SAMPLES = 8


class Fisher(ElementCriterion):
    """Squared derivative of the loss by a gate on each atom: the diagonal of Fisher's matrix."""

    needs_gradients = True
    chunk = SAMPLES
    paper = (
        "Liu et al. 2021, Group Fisher Pruning for Practical Network Compression, "
        "arXiv:2108.00708. Ours sums the gate's derivative over all readers of an atom before it "
        f"squares, as they do, but over chunks of {SAMPLES} samples and not for each sample, and "
        "leaves the division by the cost to the search."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the square per atom for one chunk, shape ``[atoms]``; see `Criterion.score`."""
        return gate_derivative(unit, weights, gradients).square()

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return ``(w * dL/dw)^2`` for one chunk; see `ElementCriterion.elements`."""
        return (weight * gradient).square()


CRITERIA.add("fisher", Fisher())
