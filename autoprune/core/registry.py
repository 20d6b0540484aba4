"""One small registry for everything that is chosen by name."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from autoprune._hints import did_you_mean
from autoprune.core.plug_ins import PlugIn, plug_ins
from autoprune.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things by name; a name is given once.

    Args:
        kind: What the things are, for errors.
        group: Entry points of this group are things of other packages, imported when asked for;
            None for things of our own alone.
        form: Attributes that such a thing must have.
    """

    def __init__(self, kind: str, group: str | None = None, form: Sequence[str] = ()) -> None:
        self.kind = kind
        self._group = group
        self._form = form
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
            ConfigError: If there is none, or its plug-in cannot be used.
        """
        others = self._others()
        if name in self._things:
            return self._things[name]
        if name in others:
            thing: T = others[name].load(self._form)
            return thing
        raise ConfigError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self)}")

    def origin(self, name: str) -> str:
        """Return the distribution that ``name`` comes from."""
        others = self._others()
        return others[name].distribution if name in others else "autoprune"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._things, *self._others()}))

    def _others(self) -> dict[str, PlugIn]:
        return plug_ins(self._group, self.kind, self._things) if self._group else {}
