"""The form of a search space, and what it allows for the units of one model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from autoprune._hints import did_you_mean
from autoprune.core.policy import Choice
from autoprune.errors import ConfigError

Sparsity = Annotated[float, Field(gt=0.0, lt=1.0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitRule(_Record):
    """What differs for the units whose name matches a shell pattern."""

    match: str
    methods: tuple[str, ...] | None = None
    sparsities: tuple[Sparsity, ...] | None = None
    step: int | None = Field(None, ge=1)


class SearchSpace(_Record):
    """A declared search space; see ``search_spaces/README.md`` for each key."""

    schema_: Literal[1] = Field(1, alias="schema")
    description: str = ""
    methods: tuple[str, ...] = Field(min_length=1)
    sparsities: tuple[Sparsity, ...] = Field(min_length=1)
    step: int = Field(1, ge=1)
    protect: tuple[str, ...] = ()
    units: tuple[UnitRule, ...] = ()

    @field_validator("methods", "sparsities")
    @classmethod
    def _distinct(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("an entry is there twice; keep one")
        return values

    @property
    def all_methods(self) -> list[str]:
        """Every method any unit may use, sorted."""
        extra = (method for rule in self.units for method in rule.methods or ())
        return sorted({*self.methods, *extra})

    def resolve(self, atoms: Mapping[str, int]) -> dict[str, "UnitSpace"]:
        """Return what may be chosen for each unit, given its number of atoms.

        Protected units, and those too small for any sparsity, are left out.

        Raises:
            ConfigError: If a pattern matches no unit.
        """
        for pattern in (*self.protect, *(rule.match for rule in self.units)):
            if not _matching(pattern, atoms):
                raise ConfigError(
                    f"The pattern {pattern!r} of the search space matches no unit of this model."
                    f"{did_you_mean(pattern, atoms)}"
                )
        spaces = {
            name: self._unit_space(name, count)
            for name, count in atoms.items()
            if not any(fnmatchcase(name, pattern) for pattern in self.protect)
        }
        return {name: space for name, space in spaces.items() if len(space.kept) > 1}

    def _unit_space(self, name: str, atoms: int) -> "UnitSpace":
        methods, sparsities, step = self.methods, self.sparsities, self.step
        for rule in self.units:
            if fnmatchcase(name, rule.match):
                methods = rule.methods or methods
                sparsities = rule.sparsities or sparsities
                step = rule.step or step
        wanted = (kept_atoms(atoms, share) for share in sparsities)
        kept = {min(-(-count // step) * step, atoms) for count in wanted}
        return UnitSpace(name, atoms, methods, tuple(sorted({atoms, *kept}, reverse=True)))


@dataclass(frozen=True, slots=True)
class UnitSpace:
    """What may be chosen for one unit.

    Args:
        unit: Its name.
        atoms: Number of atoms in the dense model.
        methods: Methods to choose from.
        kept: Atoms kept at each level, falling; level 0 is untouched.
    """

    unit: str
    atoms: int
    methods: tuple[str, ...]
    kept: tuple[int, ...]

    @property
    def levels(self) -> int:
        """Number of levels, the untouched one included."""
        return len(self.kept)

    def choice(self, method: str, level: int) -> Choice:
        """Return what a policy says for ``level``."""
        return Choice(method, 1.0 - self.kept[level] / self.atoms)


def kept_atoms(atoms: int, sparsity: float) -> int:
    """Return how many of ``atoms`` a sparsity leaves, at least one."""
    return max(atoms - round(sparsity * atoms), 1)


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if fnmatchcase(name, pattern)]
