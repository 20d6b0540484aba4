"""Paths that people give: what cannot be followed is told as any other wrong input."""

from os import PathLike
from pathlib import Path

from autoprune.errors import ConfigError


def at_home(given: str | PathLike[str]) -> Path:
    """Return a path with ``~`` or ``~USER`` at its start replaced by that folder.

    Raises:
        ConfigError: If there is no such user.
    """
    try:
        return Path(given).expanduser()
    except (RuntimeError, ValueError) as err:
        raise ConfigError(
            f"{str(given)!r} names the home folder of a user that is not known here. Write the "
            "whole path."
        ) from err


def resolved(given: str | Path) -> Path:
    """Return the absolute path of a file or folder, links followed, whether it is there or not.

    Raises:
        ConfigError: If a link leads to itself.
    """
    try:
        return Path(given).resolve()
    except (RuntimeError, OSError, ValueError) as err:  # a loop of links, NUL
        raise ConfigError(
            f"The path {str(given)!r} cannot be followed: {err}. Check its links."
        ) from err
