"""Scales of norms: atoms that a norm shrinks most go first."""

import re

import numpy as np
import torch

from autoprune.methods.base import CRITERIA, Criterion, Tensors, per_atom, summed
from autoprune.methods.magnitude import Magnitude
from autoprune.surgery.units import Slice, Unit

_NORM = re.compile(r"norm|(^|_)ln(_|\d|$)", re.IGNORECASE)  # norm1, ffn_norm, ln_2


class NormScale(Criterion):
    """Sum of ``|gamma|`` over the norms that an atom passes through.

    A unit without a norm (hidden widths of transformers) is ranked by the L1 norm of its filters:
    atoms compete within their unit only, so the two scales never meet.
    """

    paper = (
        "Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, "
        "arXiv:1708.06519. Ours sums over all norms of a unit, layer and group norms included, "
        "trains without their sparsity penalty, compares within a unit, and ranks units without "
        "a norm by their L1 norm."
    )

    def score(
        self, unit: Unit, weights: Tensors, gradients: Tensors, rng: np.random.Generator
    ) -> torch.Tensor:
        """Return the sum per atom, shape ``[atoms]``; see `Criterion.score`."""
        norms = [part for part in unit.makers if _is_scale(part, weights)]
        if not norms:
            return Magnitude(1).score(unit, weights, gradients, rng)
        return summed(
            [per_atom(weights[part.tensor].abs(), part) for part in norms], unit, weights
        )


def _is_scale(part: Slice, weights: Tensors) -> bool:
    """Tell whether a slice is the scale of a norm: a vector ``weight`` with a vector beside it.

    Norms without a bias (`RMSNorm`) have none beside it, and neither have the slopes of a PReLU,
    which are no scales: there the name of the module has to say that it is a norm.
    """
    module, _, name = part.tensor.rpartition(".")
    shape = weights[part.tensor].shape
    siblings = (weights.get(f"{module}.{other}") for other in ("bias", "running_mean"))
    beside = any(other is not None and other.shape == shape for other in siblings)
    own = module.rpartition(".")[2]
    return name == "weight" and len(shape) == 1 and (beside or bool(_NORM.search(own)))


CRITERIA.add("bn_scale", NormScale())
