"""First-order Taylor: atoms whose removal changes the loss least go first."""

import numpy as np
import torch

from autoprune.methods.base import CRITERIA, ElementCriterion, Tensors, gate_derivative
from autoprune.surgery.units import Unit


class Taylor(ElementCriterion):
    """Size of the first-order change of the loss when an atom's activation is set to zero."""

    needs_gradients = True
    paper = (
        "Molchanov et al. 2017, Pruning Convolutional Neural Networks for Resource Efficient "
        "Inference, arXiv:1611.06440. Ours takes the absolute value per batch, not per sample, "
        "and sums over all readers of an atom before it."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return ``|dL|`` per atom for one batch, shape ``[atoms]``; see `Criterion.score`."""
        return gate_derivative(unit, weights, gradients).abs()

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return ``|w * dL/dw|``, the first-order change of the loss without it."""
        return (weight * gradient).abs()


CRITERIA.add("taylor", Taylor())
