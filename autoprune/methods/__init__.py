"""Methods: how a unit is pruned. A structure and a criterion; criteria have a file each."""

from autoprune.methods import (
    bn_scale,
    drop,
    fisher,
    fpgm,
    gradient,
    gradient_norm,
    magnitude,
    random,
    regularised,
    taylor,
)
from autoprune.methods.base import CRITERIA, Criterion, ElementCriterion
from autoprune.methods.method import Method, find_method, method_names, ranking_key

__all__ = [
    "CRITERIA",
    "Criterion",
    "ElementCriterion",
    "Method",
    "bn_scale",
    "drop",
    "find_method",
    "fisher",
    "fpgm",
    "gradient",
    "gradient_norm",
    "magnitude",
    "method_names",
    "random",
    "ranking_key",
    "regularised",
    "taylor",
]
