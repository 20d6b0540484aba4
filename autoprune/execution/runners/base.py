"""What runner files of every kind have in common."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@|[?&;\s](?:password|token)=[^&\s]", re.IGNORECASE)


class RunnerFile(BaseModel):
    """A runner as its file says: unknown keys and passwords are refused.

    Args:
        kind: Which schema the file follows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    use: ClassVar[str]
    """What a runner of this kind is for, as an error tells it."""

    kind: str

    @model_validator(mode="before")
    @classmethod
    def _no_passwords(cls, given: Any) -> Any:
        for key, text in _texts(given):
            if _PASSWORD.search(text):
                raise ValueError(
                    f"the key {key!r} holds a password or token. Runner files are shared and "
                    "end up in job files: put the URL into an environment variable or a secret "
                    "of the cluster, for instance AUTOPRUNE_DATABASE."
                )
        return given


class SearchRunner(RunnerFile):
    """A runner that a search can run on right away, in the process that asks for it."""

    use: ClassVar[str] = "It runs searches: autoprune search --runner, or the key 'runner'."

    def applied(self) -> AbstractContextManager[str]:
        """Set up the place for a while, and yield the device to run on.

        Raises:
            ConfigError: If the place is not there.
        """
        raise NotImplementedError


def _texts(given: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text in nested values, and the key it lies under."""
    if isinstance(given, str):
        yield key, given
    elif isinstance(given, Mapping):
        for name, value in given.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _texts(value, key)
