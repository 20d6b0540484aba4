"""Sizes a search may ask a latency table for."""

from collections.abc import Iterable
from itertools import islice, product

import numpy as np

from autoprune.cost.latency.layers import KeptLevels, Layer
from autoprune.surgery.plan import Factor

_MOST = 12  # sizes of one variable
_MOST_MIXED = 4096  # combinations that are looked at


def candidates(layers: Iterable[Layer], kept: KeptLevels) -> dict[str, list[list[int]]]:
    """Return the sizes that each variable of a table may take, by key.

    Args:
        layers: The layers; those of one key share a table.
        kept: Atoms kept at each level of each unit of the plan.
    """
    found: dict[str, list[set[int]]] = {}
    for layer in layers:
        own = [_sizes(variable, kept) for variable in layer.variables]
        before = found.setdefault(layer.key, [set() for _ in own])
        for sizes, more in zip(before, own, strict=True):
            sizes |= more
    return {key: [_spread(sizes) for sizes in own] for key, own in found.items()}


def _sizes(variable: Factor, kept: KeptLevels) -> set[int]:
    units = sorted({unit for units in variable.parts for unit in units})
    choices = [sorted({min(kept[u]), max(kept[u])} if len(units) > 4 else kept[u]) for u in units]
    mixed = islice(product(*choices), _MOST_MIXED)
    ends = (tuple(f(kept[unit]) for unit in units) for f in (min, max))
    return {variable.value(dict(zip(units, atoms, strict=True))) for atoms in {*mixed, *ends}}


def _spread(sizes: set[int]) -> list[int]:
    """Return all sizes if they are few, else some that are spread evenly, the ends among them."""
    ordered = sorted(sizes)
    if len(ordered) <= _MOST:
        return ordered
    places = np.linspace(0, len(ordered) - 1, _MOST).round().astype(int)
    return [ordered[place] for place in places]
