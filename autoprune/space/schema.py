"""The form of a search space, and what it allows for the units of one model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

from autoprune._hints import did_you_mean
from autoprune.core.numbers import parse_count
from autoprune.core.policy import Choice
from autoprune.core.structure import split_method
from autoprune.errors import ConfigError

T = TypeVar("T")
_LEVELS = 8  # that a step leaves at least, where the device lets it


def _distinct(values: tuple[T, ...], info: ValidationInfo) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"the key {info.field_name!r} holds an entry twice; keep one.")
    return values


Sparsity = Annotated[float, Field(gt=0.0, lt=1.0)]
Sparsities = Annotated[tuple[Sparsity, ...], Field(min_length=1), AfterValidator(_distinct)]
Methods = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]


def _step_or_auto(given: Any) -> int | Literal["auto"]:
    return parse_count(given, "step")


Step = Annotated[int | Literal["auto"], BeforeValidator(_step_or_auto)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitRule(_Record):
    """What differs for the units whose name matches a shell pattern."""

    match: str
    methods: Methods | None = None
    sparsities: Sparsities | None = None
    step: Step | None = None


class SearchSpace(_Record):
    """A declared search space; see ``search_spaces/README.md`` for each key."""

    schema_: Literal[1] = Field(1, alias="schema")
    description: str = ""
    for_: tuple[str, ...] = Field((), alias="for")
    methods: Methods
    sparsities: Sparsities
    step: Step = "auto"
    protect: tuple[str, ...] = ()
    units: tuple[UnitRule, ...] = ()

    @property
    def all_methods(self) -> list[str]:
        """Every method any unit may use, sorted."""
        extra = (method for rule in self.units for method in rule.methods or ())
        return sorted({*self.methods, *extra})

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of units that some method fits."""
        return frozenset(split_method(method)[0].kind for method in self.all_methods)

    def resolve(
        self,
        atoms: Mapping[str, int],
        kinds: Mapping[str, str] | None = None,
        steps: tuple[int, int] = (1, 1),
    ) -> dict[str, "UnitSpace"]:
        """Return what may be chosen for each unit.

        Protected units are left out, those too small for any sparsity, and those of a kind that
        no method fits.

        Args:
            atoms: Number of atoms by unit.
            kinds: Kind by unit, for those that are not of the kind ``channel``.
            steps: What ``step: auto`` stands for: the second number, the device's step; for
                units of few atoms less, but not less than the first.

        Raises:
            ConfigError: If a pattern matches no unit.
        """
        kinds = {name: (kinds or {}).get(name, "channel") for name in atoms}
        atoms = {name: count for name, count in atoms.items() if kinds[name] in self.kinds}
        for pattern in (*self.protect, *(rule.match for rule in self.units)):
            if not any(fnmatchcase(name, pattern) for name in atoms):
                raise ConfigError(
                    f"The pattern {pattern!r} of the search space matches no unit of this model "
                    f"that its methods fit.{_near_misses(pattern, atoms)}"
                )
        spaces = {
            name: self._unit_space(name, count, kinds[name], steps)
            for name, count in atoms.items()
            if not self.protects(name)
        }
        return {n: space for n, space in spaces.items() if len(space.kept) > 1 and space.methods}

    def protects(self, unit: str) -> bool:
        """Tell whether a unit is never pruned."""
        return any(fnmatchcase(unit, pattern) for pattern in self.protect)

    def methods_for(self, unit: str, kind: str) -> tuple[str, ...]:
        """Return the methods that may be used for a unit of a kind."""
        methods, _, _ = self._settings(unit)
        return tuple(method for method in methods if split_method(method)[0].kind == kind)

    def _settings(self, unit: str) -> tuple[Methods, Sparsities, int | str]:
        """Return methods, sparsities and step of a unit; the last entry that matches wins."""
        methods, sparsities = self.methods, self.sparsities
        step: int | str = self.step
        for rule in self.units:
            if fnmatchcase(unit, rule.match):
                methods = rule.methods or methods
                sparsities = rule.sparsities or sparsities
                step = rule.step or step
        return methods, sparsities, step

    def _unit_space(self, name: str, atoms: int, kind: str, steps: tuple[int, int]) -> "UnitSpace":
        _, sparsities, own = self._settings(name)
        fitting = self.methods_for(name, kind)
        fixed = [split_method(method)[0].sparsity for method in fitting]
        if kind == "block":
            return UnitSpace(name, atoms, fitting, (atoms, 0))
        if fitting and None not in fixed:
            sparsities = tuple(sorted({share for share in fixed if share is not None}))
        step = 1 if kind != "channel" else int(_step(atoms, steps) if own == "auto" else own)
        wanted = (kept_atoms(atoms, share) for share in sparsities)
        kept = {min(-(-count // step) * step, atoms) for count in wanted}
        return UnitSpace(name, atoms, fitting, tuple(sorted({atoms, *kept}, reverse=True)))


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

    @property
    def patterns(self) -> tuple[tuple[int, int], ...]:
        """Each N:M among the methods."""
        found = (split_method(method)[0].pattern for method in self.methods)
        return tuple(sorted({pattern for pattern in found if pattern is not None}))

    def nearest(self, sparsity: float) -> int:
        """Return the level that removes the share of atoms nearest to ``sparsity``."""
        aim = self.atoms * (1 - sparsity)
        return min(range(self.levels), key=lambda at: abs(self.kept[at] - aim))

    def one_of(self, method: str, level: int) -> int:
        """Return the one level that stands for all at which a method does what it does at this.

        N:M has one sparsity above level 0. Its level is the first that removes as much, where
        there is one: it costs what N:M costs.
        """
        pattern = split_method(method)[0].pattern
        if pattern is None or level == 0:
            return level
        n, m = pattern
        enough = (at for at, kept in enumerate(self.kept) if kept * m <= self.atoms * n)
        return next(enough, self.levels - 1)

    def choice(self, method: str, level: int) -> Choice:
        """Return what a policy says for ``level``; N:M has one sparsity above level 0."""
        fixed = split_method(method)[0].sparsity
        if fixed is not None and level:
            return Choice(method, fixed)
        return Choice(method, 1.0 - self.kept[level] / self.atoms)


def _step(atoms: int, steps: tuple[int, int]) -> int:
    """Return a step that leaves a unit some levels, a power of two inside ``steps``."""
    finest, coarsest = steps
    wanted = 1 << max((atoms // _LEVELS).bit_length() - 1, 0)
    return min(max(wanted, finest), coarsest)


def kept_atoms(atoms: int, sparsity: float) -> int:
    """Return how many of ``atoms`` a sparsity leaves, at least one if it is below 1."""
    return max(atoms - round(sparsity * atoms), int(sparsity < 1))


def _near_misses(pattern: str, names: Iterable[str]) -> str:
    """Return the hint for a pattern that matches none of ``names``."""
    known = list(names)
    groups = {f"{name.rsplit('.', dots)[0]}.*" for name in known for dots in range(1, 4)}
    return did_you_mean(pattern, known, groups if "*" in pattern else (), most=3)
