"""Units and the plan: which slices of which tensors go when an atom goes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from autoprune._hints import did_you_mean
from autoprune.core.fingerprint import fingerprint
from autoprune.errors import ModelError
from autoprune.surgery.ids import Ids


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
    """A coupled group of channels a policy decides about; its atoms are alike and independent."""

    name: str
    atoms: int
    slices: tuple[Slice, ...]

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
        tensor: {dim: np.unique(np.concatenate(parts)) for dim, parts in dims.items()}
        for tensor, dims in found.items()
    }


@dataclass(frozen=True, slots=True)
class Factor:
    """A dimension's size as a function of the policy: ``fixed + sum(per_unit * atoms kept)``."""

    fixed: int
    per_unit: Mapping[str, int]

    def freeze(self, atoms: Mapping[str, int]) -> "Factor":
        """Return the factor with the given units (atoms by name) at their full size for good."""
        free = {unit: per for unit, per in self.per_unit.items() if unit not in atoms}
        frozen = sum(per * atoms[unit] for unit, per in self.per_unit.items() if unit in atoms)
        return Factor(self.fixed + frozen, free)


@dataclass(frozen=True, slots=True)
class CostTerm:
    """``coefficient`` times the product of the factors; ``op`` says where it comes from."""

    op: str
    coefficient: int
    factors: tuple[Factor, ...]

    def freeze(self, atoms: Mapping[str, int]) -> "CostTerm":
        """Return the term with the given units (atoms by name) at their full size for good."""
        return CostTerm(self.op, self.coefficient, tuple(f.freeze(atoms) for f in self.factors))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model's surgery may do, found by one trace.

    Args:
        units: Units by name, in the order of the model's parameters.
        sealed: Reason by ``tensor[dim]`` for every dimension that cannot be pruned.
        shapes: Shape of every parameter and buffer of the dense model.
        terms: Multiply-adds of the traced batch.
        batch: Samples in the traced batch.
        rejected: Reason by unit for those that failed verification and are not in ``units``.
    """

    units: Mapping[str, Unit]
    sealed: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    terms: tuple[CostTerm, ...]
    batch: int
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Identity of the architecture and of its units, weights aside."""
        units = {
            name: [unit.atoms, *([part.tensor, part.dim] for part in unit.slices)]
            for name, unit in self.units.items()
        }
        return fingerprint([{name: list(shape) for name, shape in self.shapes.items()}, units])

    def removed(self, atoms: Mapping[str, Ids]) -> dict[str, dict[int, Ids]]:
        """Return the positions to remove by tensor and dimension, for removed atoms by unit.

        Raises:
            ModelError: If there is no such unit or atom, or no atom would be left.
        """
        for name, gone in atoms.items():
            self._check(name, gone)
        return positions(
            (part, part.index[gone])
            for name, gone in atoms.items()
            for part in self.units[name].slices
        )

    def _check(self, name: str, gone: Ids) -> None:
        if name not in self.units:
            raise ModelError(
                f"This model has no unit {name!r}.{did_you_mean(name, self.units)} "
                "Is the policy of another model?"
            )
        count = self.units[name].atoms
        if len(gone) and (gone.min() < 0 or gone.max() >= count):
            raise ModelError(f"The unit {name!r} has the atoms 0 to {count - 1}. Got {gone}.")
        if len(np.unique(gone)) >= count:
            raise ModelError(f"The unit {name!r} must keep one of its {count} atoms at least.")
