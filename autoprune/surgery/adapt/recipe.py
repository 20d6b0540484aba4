"""What a recipe for a class of another package says (see `rewrite`)."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Heads:
    """Where a module keeps its number of heads, and which weight tells how many are left.

    Args:
        weight: Name of the weight, by default the projection that reads all heads.
        dim: Its dimension that is laid out as ``parts x heads x width``.
        parts: Number of parts.
        attribute: Name of the number of heads.
    """

    weight: str = "proj.weight"
    dim: int = 1
    parts: int = 1
    attribute: str = "num_heads"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a class is changed.

    Args:
        sizes: Expressions that are left to the reshape to find.
        heads: Where the number of heads is; modules without heads ignore it.
        follows: Value of an attribute as a function of the pruned module, heads already set.
        exact: Expressions and what stands for them, where a reshape cannot find the size.
        scale: What attention scales by in the dense module, where that is no attribute.
        methods: Methods that hold such reshapes.
    """

    sizes: tuple[str, ...] = ("C", "C // self.num_heads", "self.head_dim")
    heads: Heads = Heads()
    follows: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)
    scale: Callable[[Any], float] | None = None
    methods: tuple[str, ...] = ("forward",)


def at(module: Any, path: str) -> Any:
    """Return what is at a dotted path below ``module``."""
    return operator.attrgetter(path)(module)
