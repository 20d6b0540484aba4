"""Regularised magnitude: atoms made by small weights go first, and are shrunk before they go."""

from typing import Literal

import numpy as np
import torch

from autoprune.core.structure import split_method
from autoprune.methods.base import CRITERIA, Criterion, Tensors
from autoprune.methods.magnitude import Magnitude
from autoprune.surgery.units import Unit

Power = Literal[1, 2]


class Regularised(Criterion):
    """Ranks like magnitude; `evaluation.training.shrink` then trains under a penalty.

    The penalty holds for the atoms that are to be cut alone, so that the others take over what
    those did while both are there.

    Args:
        power: 1 for the L1 penalty of every single weight, 2 for the group lasso, one group per
            atom; ranked by the norm of the same power.
    """

    paper = (
        "Wen et al. 2016, Learning Structured Sparsity in Deep Neural Networks, arXiv:1608.03665, "
        "for the group lasso; Wang et al. 2021, Neural Pruning via Growing Regularization, "
        "arXiv:2012.09243, for a penalty that grows and holds for the atoms to be cut alone. Ours "
        "takes proximal steps in place of gradients of the penalty, over everything an atom owns "
        "in all coupled layers, its readers, biases and norms included."
    )

    def __init__(self, power: Power) -> None:
        self.power = power

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the norm per atom, shape ``[atoms]``; see `Criterion.score`."""
        return Magnitude(self.power).score(unit, weights, gradients, rng)


def penalty(method: str) -> Power | None:
    """Return the power of a method's penalty; None if it has none."""
    return _POWERS.get(split_method(method)[1])


_POWERS: dict[str, Power] = {"regularised_l1": 1, "regularised_l2": 2}
for _name, _power in _POWERS.items():
    CRITERIA.add(_name, Regularised(_power))
