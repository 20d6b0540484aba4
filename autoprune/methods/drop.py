"""Drop: a block has one atom, so there is nothing to rank."""

import numpy as np
import torch

from autoprune.methods.base import CRITERIA, Criterion, Tensors
from autoprune.surgery.units import Unit


class Drop(Criterion):
    """The criterion of blocks, which go whole: what a block is worth only a score can tell."""

    kinds = ("block",)
    paper = (
        "Elkerdawy et al. 2020, To Filter Prune, or to Layer Prune, That Is The Question, "
        "arXiv:2007.05667, which ranks layers by criteria of filters. Ours ranks no blocks: a "
        "search tries policies with and without each."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return zeros, shape ``[atoms]``; see `Criterion.score`."""
        return torch.zeros(unit.atoms, dtype=torch.float64)


CRITERIA.add("drop", Drop())
