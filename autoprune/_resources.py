"""Finds the files that autoprune ships, and the folder where it keeps what it made.

``search_spaces/``, ``runners/`` and ``dashboards/`` lie inside the package in a wheel
(``autoprune/_data``) and at the top of a checkout; nobody else needs to know which.
"""

import os
from pathlib import Path

from autoprune._hints import did_you_mean
from autoprune.errors import ConfigError

FOLDERS = ("dashboards", "runners", "search_spaces")
_PACKAGE = Path(__file__).parent


def resource(folder: str, name: str) -> Path:
    """Return the shipped file ``name``, suffix included, of one of `FOLDERS`.

    Raises:
        ConfigError: If there is no such folder or no such file in it.
    """
    root = _root(folder)
    known = _files(root)
    if name not in known:
        raise ConfigError(f"autoprune ships no {folder}/{name}.{did_you_mean(name, known)}")
    return root / name


def names(folder: str, suffix: str) -> list[str]:
    """Return what `resource` knows in ``folder`` with ``suffix``, sorted, the suffix cut off.

    Raises:
        ConfigError: If there is no such folder.
    """
    return [name.removesuffix(suffix) for name in _files(_root(folder)) if name.endswith(suffix)]


def cache_dir() -> Path:
    """Return the folder for what can be made again; it exists when this returns.

    It is the environment's ``AUTOPRUNE_CACHE``, or ``~/.cache/autoprune``.

    Raises:
        ConfigError: If the folder cannot be made.
    """
    given = os.environ.get("AUTOPRUNE_CACHE") or "~/.cache/autoprune"
    folder = Path(given).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigError(
            f"The cache folder {str(folder)!r} cannot be made: {err.strerror}. "
            "Set AUTOPRUNE_CACHE to a folder that can be written."
        ) from err
    return folder


def _root(folder: str) -> Path:
    """Return where ``folder`` lies: inside the package if it was installed, else in the checkout.

    A folder beside an installed package belongs to somebody else, so a checkout must show its
    ``pyproject.toml``.
    """
    if folder not in FOLDERS:
        raise ConfigError(f"autoprune ships no folder {folder!r}.{did_you_mean(folder, FOLDERS)}")
    checkout = _PACKAGE.parent
    packaged = _PACKAGE / "_data" / folder
    if packaged.is_dir():
        return packaged
    if (checkout / "pyproject.toml").is_file() and (checkout / folder).is_dir():
        return checkout / folder
    raise ConfigError(f"This autoprune lacks its folder {folder!r}. Install it again.")


def _files(root: Path) -> list[str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in files)
