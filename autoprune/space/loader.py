"""Find and read a search space by name."""

import os.path
from pathlib import Path

from pydantic import ValidationError

from autoprune._hints import did_you_mean
from autoprune._resources import names, resource
from autoprune.core.paths import at_home
from autoprune.core.problems import explain
from autoprune.core.yaml_file import read_yaml
from autoprune.errors import ConfigError
from autoprune.space.schema import SearchSpace

FOLDER = "search_spaces"


def load_space(name: str, base: Path | None = None) -> SearchSpace:
    """Return a shipped space (``default``) or one of your own (``file:my_space.yaml``).

    Args:
        name: Name of a shipped space, or ``file:`` and a path.
        base: Folder that relative paths start from; None for the working folder.

    Raises:
        ConfigError: If there is no such space or its content is not understood.
    """
    return read_space(find_space(name, base))


def read_space(path: Path) -> SearchSpace:
    """Read a space from a YAML file; raises `ConfigError` naming the file and the key."""
    try:
        return SearchSpace.model_validate(read_yaml(path))
    except ValidationError as err:
        raise ConfigError(f"{path}: {explain(err, SearchSpace)}") from err


def find_space(name: str, base: Path | None = None) -> Path:
    """Return the file of a space; arguments and errors are those of `load_space`."""
    base = base or Path()
    if name.startswith("file:"):
        return base / at_home(name.removeprefix("file:"))
    if name in names(FOLDER, ".yaml"):
        return resource(FOLDER, f"{name}.yaml")
    own = f" For a file of your own write 'file:{name}'." if os.path.isfile(base / name) else ""
    raise ConfigError(
        f"Unknown search space {name!r}.{did_you_mean(name, names(FOLDER, '.yaml'))}{own}"
    )
