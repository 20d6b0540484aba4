"""The plan: what a model's surgery may do, and how its sizes follow from the atoms kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from autoprune._hints import did_you_mean
from autoprune.errors import ModelError
from autoprune.surgery.ids import Ids
from autoprune.surgery.units import Cut, Kind, Unit, positions

Kept = Mapping[str, int]
Product = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """A size as a function of the policy: ``fixed`` and a sum of products of atoms kept.

    Args:
        fixed: What always stays.
        parts: How often each product of units counts; ``("a",): 2`` is twice the atoms kept of
            ``a``, ``("width", "heads"): 3`` three times the product of two.
    """

    fixed: int
    parts: Mapping[Product, int]

    def value(self, kept: Kept) -> int:
        """Return the size, given the atoms kept of every unit it names."""
        return self.fixed + sum(
            count * prod(kept[unit] for unit in units) for units, count in self.parts.items()
        )

    def freeze(self, atoms: Kept) -> "Factor":
        """Return the factor with the given units (atoms by name) at their full size for good."""
        fixed, parts = self.fixed, dict[Product, int]()
        for units, count in self.parts.items():
            count *= prod(atoms[unit] for unit in units if unit in atoms)
            free = tuple(unit for unit in units if unit not in atoms)
            if free:
                parts[free] = parts.get(free, 0) + count
            else:
                fixed += count
        return Factor(fixed, parts)


def present(block: str) -> Factor:
    """Return what is 1 where a block is there and 0 where it is dropped."""
    return Factor(0, {(block,): 1})


@dataclass(frozen=True, slots=True)
class CostTerm:
    """Multiply-adds of an op: ``coefficient`` times the product of the factors.

    Args:
        op: Name of the op, for instance ``aten.convolution``.
        coefficient: Multiply-adds for the traced batch where every factor is one.
        factors: Sizes they are proportional to.
        weight: Name of the parameter that it multiplies with, if it is one.
        operands: Shape of each tensor it reads; of several terms of one op one has them.
        settings: Its other arguments, as far as they are numbers, by name.
        blocks: Blocks without which it does not run.
        module: Name of the innermost module that ran it.
    """

    op: str
    coefficient: int
    factors: tuple[Factor, ...]
    weight: str | None = None
    operands: tuple[tuple[Factor, ...], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    blocks: tuple[str, ...] = ()
    module: str = ""

    def freeze(self, atoms: Kept) -> "CostTerm":
        """Return the term with the given units (atoms by name) at their full size for good."""
        return replace(
            self,
            factors=tuple(f.freeze(atoms) for f in self.factors),
            operands=tuple(tuple(f.freeze(atoms) for f in shape) for shape in self.operands),
            blocks=tuple(block for block in self.blocks if block not in atoms),
        )


@dataclass(frozen=True, slots=True)
class Activation:
    """A piece of memory: ``coefficient`` bytes times the product of the factors.

    Args:
        op: Name of the op that made it.
        coefficient: Bytes for the traced batch where every factor is one.
        factors: Sizes they are proportional to.
        first: Number of the op that made it.
        last: Number of the first op that ran after it was freed.
        prolonged: Whether it is another piece that lives longer where blocks are dropped.
    """

    op: str
    coefficient: int
    factors: tuple[Factor, ...]
    first: int
    last: int
    prolonged: bool = False

    def freeze(self, atoms: Kept) -> "Activation":
        """Return it with the given units (atoms by name) at their full size for good."""
        return replace(self, factors=tuple(f.freeze(atoms) for f in self.factors))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model's surgery may do, found by tracing it.

    Args:
        units: Units that can be cut, by name, in the order of the model's parameters.
        sealed: Reason by ``tensor[dim]`` for every dimension that cannot be pruned.
        shapes: Shape of every parameter and buffer of the dense model.
        sizes: Size of each dimension that some unit shrinks, by tensor, by dimension.
        terms: Multiply-adds of the traced batch.
        batch: Samples in the traced batch.
        activations: Memory of the traced forward.
        uncounted: Ops that compute, but whose multiply-adds nobody counts: ``terms`` are a lower
            bound where there are any.
        rejected: Reason by unit for those that failed verification and are not in ``units``.
        by_value: Whether sizes of tensors depend on values, as after non-maximum suppression.
        witnesses: Layers whose outputs no unit changes in form, to be compared in place of the
            model's outputs; only ``by_value``.
        training: Modules whose training flag opens paths (auxiliary heads) that were traced too.
        notes: What a user should know about the trace.
        weights: Units of single weights, which are set to zero and not cut, by name.
    """

    units: Mapping[str, Unit]
    sealed: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, Mapping[int, Factor]]
    terms: tuple[CostTerm, ...]
    batch: int
    activations: tuple[Activation, ...] = ()
    uncounted: tuple[str, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    by_value: bool = False
    witnesses: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    weights: Mapping[str, Unit] = field(default_factory=dict)

    @property
    def atoms(self) -> dict[str, int]:
        """Number of atoms by unit, single weights included."""
        return {name: unit.atoms for name, unit in {**self.units, **self.weights}.items()}

    @property
    def kinds(self) -> dict[str, Kind]:
        """Kind by unit, single weights included."""
        return {name: unit.kind for name, unit in {**self.units, **self.weights}.items()}

    def of(self, *kinds: Kind) -> dict[str, Unit]:
        """Return the units of the given kinds by name."""
        return {name: unit for name, unit in self.units.items() if unit.kind in kinds}

    def cut(self, atoms: Mapping[str, Ids | Sequence[int]]) -> Cut:
        """Return what goes when the given atoms of each unit go.

        Raises:
            ModelError: If there is no such unit or atom, or no atom would be left.
        """
        gone = {name: np.unique(np.asarray(given, np.int64)) for name, given in atoms.items()}
        for name, given in gone.items():
            self._check(name, given)
        blocks = [self.units[n] for n, given in gone.items() if given.size]
        modules = tuple(unit.members[0] for unit in blocks if unit.kind == "block")
        found = positions(
            (part, part.index[given])
            for name, given in gone.items()
            for part in self.units[name].slices
        )
        whole = Cut(modules=modules)
        return Cut({name: dims for name, dims in found.items() if not whole.drops(name)}, modules)

    def without(self, reasons: Mapping[str, str]) -> "Plan":
        """Return the plan without the units in ``reasons``, which say why they are rejected."""
        gone = {name: self.units[name].atoms for name in reasons}
        return replace(
            self,
            units={name: unit for name, unit in self.units.items() if name not in reasons},
            rejected={**self.rejected, **reasons},
            terms=tuple(term.freeze(gone) for term in self.terms),
            activations=tuple(piece.freeze(gone) for piece in self.activations),
            sizes={
                tensor: {dim: factor.freeze(gone) for dim, factor in dims.items()}
                for tensor, dims in self.sizes.items()
            },
        )

    def _check(self, name: str, gone: Ids) -> None:
        if name in self.weights:
            raise ModelError(
                f"The unit {name!r} is made of single weights, which are set to zero and not cut."
            )
        if name not in self.units:
            raise ModelError(
                f"This model has no unit {name!r}.{did_you_mean(name, self.units)} "
                "Is the policy of another model?"
            )
        unit = self.units[name]
        if len(gone) and (gone.min() < 0 or gone.max() >= unit.atoms):
            raise ModelError(f"The unit {name!r} has the atoms 0 to {unit.atoms - 1}. Got {gone}.")
        if unit.kind != "block" and len(np.unique(gone)) >= unit.atoms:
            raise ModelError(
                f"The unit {name!r} must keep one of its {unit.atoms} atoms at least."
            )
