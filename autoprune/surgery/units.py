"""Units: what a policy decides about, and what goes when an atom of one goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from autoprune.surgery.ids import Ids

Kind = Literal["channel", "head", "block", "weights"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Positions = Mapping[str, Mapping[int, Ids]]


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of one tensor's dimension that a unit owns.

    Args:
        tensor: Name of a parameter or buffer.
        dim: Dimension that is indexed.
        index: Positions per atom, ``atoms x slots per atom``.
        reads: Whether these slots read the atom (a weight's input side) or make it.
    """

    tensor: str
    dim: int
    index: Ids
    reads: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """What a policy decides about; its atoms are alike and independent.

    Args:
        name: Stable name, the same in every process.
        atoms: Number of atoms.
        slices: What the atoms own; empty for a block and for single weights.
        kind: ``channel``: coupled channels. ``head``: whole attention heads. ``block``: one
            residual block, a single atom. ``weights``: the elements of weight tensors.
        members: Name of the module of a block, or of the tensors of ``weights``.
        rank: Which of several competing axes the trace that found the unit settled on.
    """

    name: str
    atoms: int
    slices: tuple[Slice, ...] = ()
    kind: Kind = "channel"
    members: tuple[str, ...] = ()
    rank: int = 0

    @property
    def makers(self) -> tuple[Slice, ...]:
        """The slices that produce the atoms."""
        return tuple(part for part in self.slices if not part.reads)

    @property
    def readers(self) -> tuple[Slice, ...]:
        """The slices that read the atoms; zeroing them is the same as removing the atom."""
        return tuple(part for part in self.slices if part.reads)


def positions(owned: Iterable[tuple[Slice, Ids]]) -> dict[str, dict[int, Ids]]:
    """Return positions of slices, gathered by tensor and dimension, sorted, each once."""
    found: dict[str, dict[int, list[Ids]]] = {}
    for part, index in owned:
        found.setdefault(part.tensor, {}).setdefault(part.dim, []).append(index.ravel())
    return {
        tensor: {dim: _merged(parts) for dim, parts in dims.items()}
        for tensor, dims in found.items()
    }


def _merged(parts: Sequence[Ids]) -> Ids:
    """Return all positions, sorted, each once; those of one unit are distinct already."""
    return np.sort(parts[0]) if len(parts) == 1 else np.unique(np.concatenate(parts))


@dataclass(frozen=True, slots=True)
class Cut:
    """What is taken out of a model.

    Args:
        positions: Positions to remove, by tensor, by dimension, sorted.
        modules: Modules that are replaced by a pass-through.
    """

    positions: Positions = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def drops(self, name: str) -> bool:
        """Tell whether a tensor or module lies in a module that goes whole."""
        return any(inside(name, module) for module in self.modules)

    def after(self, done: "Cut") -> "Cut":
        """Return what is left to do, in the positions of a model from which ``done`` is gone."""
        left: dict[str, dict[int, Ids]] = {}
        for tensor, dims in self.positions.items():
            if not done.drops(tensor):
                gone = done.positions.get(tensor, {})
                left[tensor] = {dim: _shifted(own, gone.get(dim)) for dim, own in dims.items()}
        return Cut(left, tuple(name for name in self.modules if not done.drops(name)))


def _shifted(own: Ids, gone: Ids | None) -> Ids:
    if gone is None:
        return own
    stay = np.setdiff1d(own, gone)
    return stay - np.searchsorted(gone, stay)


def staying(size: int, gone: Ids) -> Ids:
    """Return the positions of a dimension that are left, sorted."""
    left = np.ones(size, bool)
    left[gone] = False
    return np.flatnonzero(left)


def inside(name: str, module: str) -> bool:
    """Tell whether a dotted name is that of a module or lies in it; the root is ``""``."""
    return not module or name == module or name.startswith(f"{module}.")
