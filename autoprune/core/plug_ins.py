"""Things of other packages: entry points, found by name and imported only when asked for."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autoprune.core.user_code import blame
from autoprune.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PlugIn:
    """One entry point.

    Args:
        kind: What it gives, for errors.
        entry: The entry point.
    """

    kind: str
    entry: EntryPoint

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that declares it."""
        dist = self.entry.dist
        return f"{dist.name} {dist.version}" if dist is not None else "an unknown distribution"

    def load(self, form: Sequence[str]) -> Any:
        """Import and return the thing itself.

        Args:
            form: Attributes that it must have.

        Raises:
            ConfigError: If it cannot be imported, lacks an attribute, or is a class.
        """
        where = f"The {self.kind} {self.entry.name!r} of {self.distribution}"
        try:
            thing = self.entry.load()
        except (Exception, SystemExit) as err:  # a plug-in may raise anything
            raise ConfigError(
                f"{where} cannot be imported from {self.entry.value!r}: {blame(err)} "
                "Update or uninstall that distribution."
            ) from err
        if isinstance(thing, type):
            raise ConfigError(
                f"{where} leads to the class {thing.__name__!r}. It must lead to an object of it."
            )
        lacking = [name for name in form if not hasattr(thing, name)]
        if lacking:
            raise ConfigError(f"{where} is no {self.kind}: it has no {', '.join(lacking)}.")
        return thing


def plug_ins(group: str, kind: str, taken: Container[str]) -> dict[str, PlugIn]:
    """Return what the installed distributions declare in an entry point group, by name.

    Args:
        group: The group.
        kind: What its entry points give, for errors.
        taken: Names that are ours.

    Raises:
        ConfigError: If a name is taken or declared twice.
    """
    found: dict[str, PlugIn] = {}
    for entry in entry_points(group=group):
        plug_in = PlugIn(kind, entry)
        if entry.name in taken or entry.name in found:
            other = found[entry.name].distribution if entry.name in found else "autoprune"
            raise ConfigError(
                f"{plug_in.distribution} declares the {kind} {entry.name!r}, which {other} has "
                "already. Uninstall one of the two distributions."
            )
        found[entry.name] = plug_in
    return found
