"""Structures: what a method takes away. A method is named ``structure.criterion``."""

import re
from dataclasses import dataclass

from autoprune.errors import ConfigError

_N_M = re.compile(r"(\d+):(\d+)")
# Which kind of unit each structure decides about.
KIND_OF = {"channel": "channel", "head": "head", "block": "block", "unstructured": "weights"}


@dataclass(frozen=True, slots=True)
class Structure:
    """How atoms are taken away.

    Args:
        name: ``channel``, ``head``, ``block``, ``unstructured`` or ``N:M``, such as ``2:4``.
        kind: The kind of unit it fits.
        pattern: For ``N:M`` how many of each group stay, and the group's size; else None.
    """

    name: str
    kind: str
    pattern: tuple[int, int] | None = None

    @property
    def removes(self) -> bool:
        """Whether atoms are removed; else single weights are set to zero."""
        return self.kind != "weights"

    @property
    def sparsity(self) -> float | None:
        """The only sparsity there is, for ``N:M``; None where it can be chosen."""
        return None if self.pattern is None else 1 - self.pattern[0] / self.pattern[1]


def split_method(method: str) -> tuple[Structure, str]:
    """Return the structure of a method and the name of its criterion.

    Raises:
        ConfigError: If there is no such structure.
    """
    name, _, criterion = method.partition(".")
    found = _N_M.fullmatch(name)
    if found and 0 < int(found[1]) < int(found[2]):
        return Structure(name, "weights", (int(found[1]), int(found[2]))), criterion
    if name not in KIND_OF or not criterion:
        raise ConfigError(
            f"A method is written STRUCTURE.CRITERION, with one of {', '.join(KIND_OF)} or N:M "
            f"(0 < N < M, for instance 2:4) as its structure. Got {method!r}."
        )
    return Structure(name, KIND_OF[name]), criterion
