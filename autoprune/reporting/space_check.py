"""What a search space allows for each unit of a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoprune.space.schema import SearchSpace
from autoprune.surgery.plan import Plan

PROTECTED = "protected"
TOO_SMALL = "too small for any of its sparsities"
NO_METHOD = "none of its methods fits it"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAllowance:
    """What may be chosen for one unit.

    Args:
        unit: Its name.
        atoms: Number of its atoms.
        methods: Methods to choose from.
        kept: Atoms kept at each level, falling; the first is the untouched one.
        left_out: Why it is never pruned; None if it is not so.
    """

    unit: str
    atoms: int
    methods: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()
    left_out: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceCheck:
    """A search space against a model.

    Args:
        units: Every unit of the model that is of a kind that some method fits.
        policies: How many policies the space holds.
    """

    units: Sequence[UnitAllowance]
    policies: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def space_check(space: SearchSpace, plan: Plan) -> SpaceCheck:
    """Resolve ``space`` for the units of ``plan``.

    Raises:
        ConfigError: If a pattern matches no unit.
    """
    atoms, kinds, fitting = plan.atoms, plan.kinds, space.kinds
    resolved = space.resolve(atoms, kinds)
    units, policies = [], 1
    for name, count in atoms.items():
        if kinds[name] not in fitting:
            continue
        if name in resolved:
            own = resolved[name]
            policies *= 1 + len(own.methods) * (own.levels - 1)
            units.append(UnitAllowance(unit=name, atoms=count, methods=own.methods, kept=own.kept))
        else:
            reason = TOO_SMALL if space.methods_for(name, kinds[name]) else NO_METHOD
            reason = PROTECTED if space.protects(name) else reason
            units.append(UnitAllowance(unit=name, atoms=count, left_out=reason))
    return SpaceCheck(units=units, policies=policies)
