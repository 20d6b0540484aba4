"""Methods: which atoms of a unit go first. One file each, one registry."""

from autoprune.methods import magnitude, taylor
from autoprune.methods.base import METHODS, Criterion

__all__ = ["METHODS", "Criterion", "magnitude", "taylor"]
