"""Layers as a latency table knows them: an op, its fixed sizes, and those a policy changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from autoprune.surgery.plan import CostTerm, Factor, Plan

KeptLevels = Mapping[str, Sequence[int]]  # atoms kept at each level, falling, by unit
Sizes = tuple[int, ...]
Shapes = tuple[tuple[int, ...], ...]
_FOLLOWS = "input/weight"
Axis = tuple[int, int | None]  # a fixed size, or a multiple of the variable of a number


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an op with tensors of known shapes.

    Args:
        op: Name of the op, for instance ``aten.convolution``.
        shapes: Shape of each tensor it reads.
        settings: Its other arguments by name.
        weight: Whether the last matrix it reads is a parameter.
    """

    op: str
    shapes: Shapes
    settings: Mapping[str, Any]
    weight: bool


@dataclass(frozen=True, slots=True)
class Layer:
    """An op of a model; layers with equal `key` take the same time at the same sizes.

    Args:
        op: Name of the op.
        axes: The axes of each tensor it reads.
        settings: Its other arguments by name.
        weight: Whether it multiplies with a parameter.
        variables: What a policy changes, as functions of the atoms kept.
        blocks: Blocks without which it does not run.
    """

    op: str
    axes: tuple[tuple[Axis, ...], ...]
    settings: tuple[tuple[str, Any], ...]
    weight: bool
    variables: tuple[Factor, ...]
    blocks: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name of the table it is looked up in, the same in every model."""
        shapes = " ".join("x".join(map(_axis_text, axes)) for axes in self.axes)
        settings = " ".join(f"{name}={_plain(value)}" for name, value in self.settings)
        return f"{self.op} {shapes} {settings} {'weight' if self.weight else ''}".strip()

    def call(self, sizes: Sequence[int]) -> Call:
        """Return the call with ``sizes`` for the variables."""
        shapes = tuple(
            tuple(n if of is None else n * sizes[of] for n, of in axes) for axes in self.axes
        )
        settings = dict(self.settings)
        if settings.get("groups") == _FOLLOWS:
            settings["groups"] = max(shapes[0][1] // max(shapes[1][1], 1), 1)
        return Call(self.op, shapes, settings, self.weight)


def layers_of(plan: Plan) -> list[Layer]:
    """Return every op of the traced forward that multiplies and adds."""
    return [_layer(term) for term in plan.terms if term.operands]


def _layer(term: CostTerm) -> Layer:
    variables: list[Factor] = []
    axes = tuple(tuple(_axis(factor, variables) for factor in shape) for shape in term.operands)
    return Layer(
        op=term.op,
        axes=axes,
        settings=_settings(term),
        weight=term.weight is not None,
        variables=tuple(variables),
        blocks=term.blocks,
    )


def _axis(size: Factor, variables: list[Factor]) -> Axis:
    """Return an axis; sizes that are multiples of the same one share a variable."""
    if not size.parts:
        return size.fixed, None
    shared = gcd(size.fixed, *size.parts.values())
    primitive = Factor(
        size.fixed // shared, {units: count // shared for units, count in size.parts.items()}
    )
    if primitive not in variables:
        variables.append(primitive)
    return shared, variables.index(primitive)


def _settings(term: CostTerm) -> tuple[tuple[str, Any], ...]:
    """Return the settings; groups that follow from the shapes do not tell tables apart."""
    settings = dict(term.settings)
    if settings.get("groups", 1) > 1 and not settings.get("transposed"):
        settings["groups"] = _FOLLOWS
    return tuple(settings.items())


def _axis_text(axis: Axis) -> str:
    number, variable = axis
    return str(number) if variable is None else f"{number}{chr(ord('a') + variable)}"


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
