"""One executed op, as a rule sees it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from autoprune.surgery.activations import Activations
from autoprune.surgery.blocks import Flow
from autoprune.surgery.ids import Ids, IdTable
from autoprune.surgery.shadow import Shadow, Unruled, line, varying

EMPTY = Shadow()
Operand = tuple[tuple[int, Ids | None], ...]
Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class MacTerm:
    """Multiply-adds of one op: ``dense`` of them, proportional to the slots of each factor.

    Args:
        op: Name of the op, for instance ``aten.convolution``.
        dense: Multiply-adds for the traced batch in the dense model.
        factors: Ids of each dimension the count is proportional to and that may shrink.
        module: Name of the innermost module that ran it.
        weight: Name of the parameter it multiplies with, if it is one.
        operands: Shape of each tensor it reads, and the ids along each axis that may shrink;
            empty for all but one of the terms of an op.
        settings: Its other arguments, as far as they are numbers, by name.
    """

    op: str
    dense: int
    factors: tuple[Ids, ...]
    module: str
    weight: str | None = None
    operands: tuple[Operand, ...] = ()
    settings: Settings = ()


def _numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(number, int | float) for number in value)


@dataclass(slots=True)
class Record:
    """Everything a trace collects.

    Args:
        ids: The id table.
        rank: Which axis to settle on where channels are laid out over several: 0 is the one
            with most freedom.
        shadows: What is known of each tensor that is alive.
        terms: Multiply-adds met so far, in parts for each op.
        activations: Memory that the forward held.
        uncounted: Ops whose multiply-adds nobody counts.
        weights: Names of the parameters of layers, by where their memory is.
        flow: Skip connections and calls of modules.
        modules: Names of the modules that are running, the innermost last.
        made: Ids that the outputs of each layer vary with.
        heads: Ids of whole attention heads.
        axes: The most axes that channels were laid out over.
        by_value: Whether sizes of tensors came to depend on values.
        branches: Whether Python read a value that depends on the inputs.
        random: Whether an op drew random numbers: two such forwards cannot be compared.
        training: Modules whose training flag was set for a second forward.
    """

    ids: IdTable
    rank: int = 0
    shadows: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    terms: list[tuple[MacTerm, ...]] = field(default_factory=list)
    activations: Activations = field(default_factory=Activations)
    uncounted: set[str] = field(default_factory=set)
    weights: dict[int, str] = field(default_factory=dict)
    flow: Flow = field(default_factory=Flow)
    modules: list[str] = field(default_factory=list)
    made: dict[str, list[Ids]] = field(default_factory=dict)
    heads: list[Ids] = field(default_factory=list)
    axes: int = 1
    by_value: bool = False
    branches: bool = False
    random: bool = False
    training: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Name of the innermost module that is running, empty outside of all."""
        return self.modules[-1] if self.modules else ""

    def shadow(self, tensor: torch.Tensor) -> Shadow:
        """Return what is known of ``tensor``; nothing is known of a fresh constant."""
        found: Shadow = self.shadows.get(tensor, EMPTY)
        return found


class Op:
    """One call of an ATen op with its arguments by name, its outputs, and the open record."""

    def __init__(
        self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any, record: Record
    ) -> None:
        self.name = str(func.overloadpacket)
        self.record = record
        self.ids = record.ids
        self.outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.parts: list[tuple[int, tuple[Ids, ...]]] = []
        self._func = func
        schema = func._schema.arguments
        self._values = {a.name: a.default_value for a in schema if a.has_default_value()}
        self._values |= {a.name: value for a, value in zip(schema, args, strict=False)} | kwargs

    def arg(self, name: str) -> Any:
        """Return the argument called ``name`` in the op's schema, its default if not given."""
        return self._values[name]

    def rest(self, name: str) -> list[Any]:
        """Return the values of all arguments after the one called ``name``."""
        order = [argument.name for argument in self._func._schema.arguments]
        return [self._values[after] for after in order[order.index(name) + 1 :]]

    def has(self, name: str) -> bool:
        """Tell whether the op's schema has an argument called ``name``."""
        return name in self._values

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield every tensor among the arguments."""
        leaves = tree_leaves(list(self._values.values()))
        return (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

    def shadow(self, name: str) -> Shadow:
        """Return the shadow of the argument called ``name``; empty if it is None."""
        value = self.arg(name)
        return EMPTY if value is None else self.record.shadow(value)

    @property
    def from_input(self) -> bool:
        """Whether any argument depends on the model's inputs."""
        return any(self.record.shadow(tensor).from_input for tensor in self.tensors())

    def give(self, *tracks: tuple[Ids, ...]) -> None:
        """Set the tracks of each output in turn; outputs that get none carry no ids."""
        from_input = self.from_input
        for position, output in enumerate(self.outputs):
            own = tracks[position] if position < len(tracks) else ()
            self.record.shadows[output] = Shadow(own, from_input)

    def cost(self, *lines: Ids | None, share: int = 1) -> None:
        """Note that ``share`` parts of the op's multiply-adds grow with each of ``lines``."""
        self.parts.append((share, tuple(ids for ids in lines if ids is not None)))

    @property
    def weight(self) -> str | None:
        """Name of the parameter among the arguments that is a matrix or a filter bank."""
        plain = (tensor for tensor in self.tensors() if tensor.layout == torch.strided)
        places = (tensor.untyped_storage()._cdata for tensor in plain)
        names = [name for name in map(self.record.weights.get, places) if name]
        return names[0] if names else None

    def operands(self) -> tuple[Operand, ...]:
        """Return the shape of every tensor that is read, with the ids along each axis."""
        values = (self._values.get(argument.name) for argument in self._func._schema.arguments)
        return tuple(
            tuple((size, self._along(x, axis)) for axis, size in enumerate(x.shape))
            for x in values
            if isinstance(x, torch.Tensor)
        )

    def _along(self, tensor: torch.Tensor, axis: int) -> Ids | None:
        track = self.record.shadow(tensor).along(axis)
        return None if track is None or varying(track) != {axis} else track.ravel()

    @property
    def settings(self) -> Settings:
        """The arguments that are numbers, or rows of them, sorted by name."""
        rows = {k: tuple(v) if isinstance(v, list) else v for k, v in self._values.items()}
        plain = {k: v for k, v in rows.items() if isinstance(v, int | float) or _numbers(v)}
        return tuple(sorted(plain.items()))

    def rerun(self, stand_in: torch.Tensor) -> Ids:
        """Run the op again with ``stand_in`` for ``self``."""
        values = dict(self._values) | {"self": stand_in}
        schema = self._func._schema.arguments
        places = [values[a.name] for a in schema if not a.kwarg_only]
        named = {a.name: values[a.name] for a in schema if a.kwarg_only and a.name in values}
        try:
            found: Ids = self._func(*places, **named).numpy()
        except (NotImplementedError, RuntimeError) as err:
            raise Unruled("cannot be run on whole numbers") from err
        return found

    def seal(self, tracks: Sequence[Ids], why: str) -> None:
        """Make the ids of ``tracks`` unprunable because of this op."""
        for track in tracks:
            self.ids.seal(track, f"{self.name}: {why}")

    def join(self, left: Ids | None, right: Ids | None) -> Ids | None:
        """Join two lines of ids that meet in this op; one that meets nothing is sealed."""
        if left is not None and right is not None:
            self.ids.join(left, right, f"{self.name}: meets channels without an id")
            return left
        for alone in (left, right):
            if alone is not None:
                self.ids.seal(alone, f"{self.name}: meets a tensor whose size is fixed")
        return None

    def line(self, name: str, axis: int) -> Ids | None:
        """Return the ids of argument ``name`` along ``axis``, as a vector, or None.

        Raises:
            Unruled: If they are spread over several axes.
        """
        track = self.shadow(name).along(axis % max(self.arg(name).ndim, 1))
        return None if track is None else line(track, axis % self.arg(name).ndim)
