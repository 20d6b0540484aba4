"""Methods: which atoms of a unit go first. One file each, one registry."""

from autoprune.methods import (
    bn_scale,
    fisher,
    fpgm,
    gradient,
    gradient_norm,
    magnitude,
    random,
    taylor,
)
from autoprune.methods.base import METHODS, Criterion

__all__ = [
    "METHODS",
    "Criterion",
    "bn_scale",
    "fisher",
    "fpgm",
    "gradient",
    "gradient_norm",
    "magnitude",
    "random",
    "taylor",
]
