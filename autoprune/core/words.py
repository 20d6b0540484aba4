"""Words and switches that people give: what is allowed, said in one way."""

from collections.abc import Sequence
from typing import Any

from autoprune.errors import ConfigError


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse what is none of some words.

    Raises:
        ConfigError: If it is refused; it begins with ``name``.
    """
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}. Got {value!r}.")


def check_switch(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        ConfigError: If it is refused; it begins with ``name``.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false. Got {value!r}.")
