"""A method is a structure and a criterion: what is taken away, and by which order."""

from collections.abc import Iterator
from dataclasses import dataclass

from autoprune._hints import did_you_mean
from autoprune.core.structure import KIND_OF, Structure, split_method
from autoprune.errors import ConfigError
from autoprune.methods.base import CRITERIA, SLICED, Criterion, ElementCriterion

SHOWN_PATTERNS = ("2:4", "1:4")  # of the many N:M there are


@dataclass(frozen=True, slots=True)
class Method:
    """How a unit is pruned.

    Args:
        name: ``structure.criterion``, such as ``channel.l1`` or ``2:4.taylor``.
        structure: What is taken away, and from units of which kind.
        criterion: What decides the order.
        criterion_name: The name it is registered by.
        origin: The distribution it comes from.
    """

    name: str
    structure: Structure
    criterion: Criterion
    criterion_name: str
    origin: str

    @property
    def removes(self) -> bool:
        """Whether it removes atoms; else it sets single weights to zero."""
        return self.structure.removes

    @property
    def key(self) -> str:
        """What it has in common with methods that rank alike; see `ranking_key`."""
        return ranking_key(self.name)


def ranking_key(method: str) -> str:
    """Return what methods that rank alike have in common: all of single weights by one criterion.

    Unlike `find_method` it looks nothing up: policies name methods that were found before.
    """
    structure, criterion = split_method(method)
    return method if structure.removes else f"weights.{criterion}"


def find_method(name: str) -> Method:
    """Return the method called ``name``.

    Raises:
        ConfigError: If there is no such structure or criterion, the two do not go together, or a
            plug-in cannot be used.
    """
    structure, criterion_name = split_method(name)
    if criterion_name not in CRITERIA:
        hint = did_you_mean(criterion_name, _criteria_of(structure.kind))
        raise ConfigError(
            f"Unknown method {name!r}: no criterion is called {criterion_name!r}.{hint}"
        )
    criterion = CRITERIA.get(criterion_name)
    if structure.kind not in criterion.kinds:
        allowed = ", ".join(_criteria_of(structure.kind))
        raise ConfigError(
            f"The criterion {criterion_name!r} cannot rank {_RANKED[structure.kind]}, which the "
            f"method {name!r} asks for. Choose one that can: {allowed}."
        )
    if structure.kind == "weights" and not isinstance(criterion, ElementCriterion):
        raise ConfigError(
            f"The criterion {criterion_name!r} of {CRITERIA.origin(criterion_name)} says that it "
            "ranks single weights, but has no method 'elements'. Update or uninstall that "
            "distribution."
        )
    return Method(name, structure, criterion, criterion_name, CRITERIA.origin(criterion_name))


def method_names() -> Iterator[str]:
    """Yield the name of every method, of N:M those of `SHOWN_PATTERNS`.

    Plug-ins are not imported for it, so they are taken to rank what they do by default.
    """
    kinds = KIND_OF | dict.fromkeys(SHOWN_PATTERNS, "weights")
    for structure, kind in kinds.items():
        for criterion in _criteria_of(kind):
            yield f"{structure}.{criterion}"


_RANKED = {
    "channel": "channels",
    "head": "attention heads",
    "block": "whole blocks",
    "weights": "single weights",
}


def _criteria_of(kind: str) -> list[str]:
    return [
        name
        for name in CRITERIA
        if kind in (CRITERIA.get(name).kinds if CRITERIA.origin(name) == "autoprune" else SLICED)
    ]
