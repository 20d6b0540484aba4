"""Geometric median: atoms that the others of their unit can stand in for go first."""

import numpy as np
import torch

from autoprune.methods.base import CRITERIA, Criterion, Tensors, filters
from autoprune.surgery.units import Slice, Unit


class GeometricMedian(Criterion):
    """Sum of the distances from an atom's filters to those of every other atom of the unit."""

    paper = (
        "He et al. 2019, Filter Pruning via Geometric Median for Deep Neural Networks "
        "Acceleration, arXiv:1811.00250. Ours strings the filters of all coupled layers together "
        "to one vector per atom before distances are taken; biases and norms are left out."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the sum per atom, shape ``[atoms]``; see `Criterion.score`."""
        own = filters(unit, weights)
        products = torch.stack([_inner_products(weights[p.tensor], p) for p in own]).sum(0)
        squares = products.diagonal()
        distances = squares[:, None] + squares[None, :] - 2 * products
        distances.fill_diagonal_(0)  # rounding
        return distances.clamp_min(0).sqrt().sum(1)


def _inner_products(values: torch.Tensor, part: Slice) -> torch.Tensor:
    """Return the inner products of what the atoms own in one slice, ``atoms x atoms``."""
    rows = values.detach().movedim(part.dim, 0)
    own = torch.from_numpy(part.index).to(rows.device)
    vectors = rows[own].reshape(len(own), -1).double()
    return vectors @ vectors.T


CRITERIA.add("fpgm", GeometricMedian())
