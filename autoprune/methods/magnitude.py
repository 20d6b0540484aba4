"""Magnitude: atoms made by small weights go first."""

import torch

from autoprune.methods.base import METHODS, Tensors, per_atom, summed
from autoprune.surgery.units import Unit


class Magnitude:
    """Norm of all weights that make an atom, over every layer coupled into the unit.

    Args:
        power: 1 for the L1 norm, 2 for the L2 norm.
    """

    needs_gradients = False
    paper = (
        "Li et al. 2017, Pruning Filters for Efficient ConvNets, arXiv:1608.08710. Ours sums over "
        "the filters of all coupled layers before the root; affines of norms are left out."
    )

    def __init__(self, power: int) -> None:
        self.power = power

    def score(self, unit: Unit, weights: Tensors, gradients: Tensors) -> torch.Tensor:
        """Return the norm per atom, shape ``[atoms]``; see `Criterion.score`."""
        filters = [part for part in unit.makers if weights[part.tensor].ndim > 1]
        powers = [per_atom(weights[p.tensor].abs().pow(self.power), p) for p in filters]
        return summed(powers, unit.atoms).pow(1 / self.power)


METHODS.add("channel.l1", Magnitude(1))
METHODS.add("channel.l2", Magnitude(2))
