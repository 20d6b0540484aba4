"""Random: what every other method has to beat."""

import numpy as np
import torch

from autoprune.methods.base import CRITERIA, ElementCriterion, Tensors
from autoprune.surgery.units import Unit


class Random(ElementCriterion):
    """A random order of the atoms, the same for the same seed and unit."""

    paper = (
        "Mittal et al. 2018, Recovering from Random Pruning: On the Plasticity of Deep "
        "Convolutional Neural Networks, arXiv:1801.10447. Ours draws one order per unit from the "
        "run's seed and keeps it for all sparsities."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return uniform numbers from 0 to 1, shape ``[atoms]``; see `Criterion.score`."""
        return torch.from_numpy(rng.random(unit.atoms))

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return uniform numbers from 0 to 1; see `ElementCriterion.elements`."""
        return torch.from_numpy(rng.random(weight.shape, np.float32)).to(weight.device)


CRITERIA.add("random", Random())
