"""Rules: how channel ids pass through each op. An op without one seals what it touches."""

from autoprune.surgery.rules import (
    contraction,
    convolution,
    elementwise,
    moves,
    normalisation,
    reduction,
    views,
)
from autoprune.surgery.rules.table import RULES, rule

__all__ = [
    "RULES",
    "contraction",
    "convolution",
    "elementwise",
    "moves",
    "normalisation",
    "reduction",
    "rule",
    "views",
]
