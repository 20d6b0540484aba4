"""Magnitude: atoms made by small weights go first."""

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


class Magnitude(ElementCriterion):
    """Norm of all weights that make an atom, over every layer coupled into the unit.

    Args:
        power: 1 for the L1 norm, 2 for the L2 norm.
    """

    paper = (
        "Li et al. 2017, Pruning Filters for Efficient ConvNets, arXiv:1608.08710. Ours sums over "
        "the filters of all coupled layers before the root; affines of norms are left out."
    )

    def __init__(self, power: int) -> None:
        self.power = power

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the norm per atom, shape ``[atoms]``; see `Criterion.score`."""
        own = filters(unit, weights)
        powers = [per_atom(weights[p.tensor].double().abs().pow(self.power), p) for p in own]
        return summed(powers, unit, weights).pow(1 / self.power)

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return ``|w|``, which orders alike for both powers; see `ElementCriterion.elements`."""
        return weight.abs()


CRITERIA.add("l1", Magnitude(1))
CRITERIA.add("l2", Magnitude(2))
