"""One small registry for everything that is chosen by name."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from autoprune._hints import did_you_mean
from autoprune.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things by name; a name is given once.

    Args:
        kind: What the things are, for errors.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Register ``thing`` and return it.

        Raises:
            ConfigError: If the name is taken.
        """
        if name in self._things:
            raise ConfigError(f"There is a {self.kind} {name!r} already. Choose another name.")
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """Return the thing called ``name``.

        Raises:
            ConfigError: If there is none.
        """
        if name not in self._things:
            raise ConfigError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self._things)}")
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._things))
