"""Find a runner by name and read its file by the schema of its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from autoprune._hints import did_you_mean
from autoprune._resources import names, resource
from autoprune.core.paths import at_home
from autoprune.core.problems import explain
from autoprune.core.yaml_file import read_yaml
from autoprune.errors import ConfigError
from autoprune.execution.runners.base import RunnerFile, SearchRunner
from autoprune.execution.runners.cluster import RayRunner
from autoprune.execution.runners.kubernetes import KubernetesRunner
from autoprune.execution.runners.local import LocalRunner
from autoprune.execution.runners.ray_job import RayJobRunner
from autoprune.execution.runners.slurm import SlurmRunner
from autoprune.execution.runners.tune import RayTuneRunner

FOLDER = "runners"
KINDS: Mapping[str, type[RunnerFile]] = {
    "local": LocalRunner,
    "ray": RayRunner,
    "ray-tune": RayTuneRunner,
    "slurm": SlurmRunner,
    "kubernetes": KubernetesRunner,
    "ray-job": RayJobRunner,
}

R = TypeVar("R", bound=RunnerFile)


def load_runner(name: str, base: Path | None = None) -> SearchRunner:
    """Return a runner that a search can run on; arguments and errors as of `load_runner_for`."""
    return load_runner_for(SearchRunner, name, base)


def load_runner_for(use: type[R], name: str, base: Path | None = None) -> R:
    """Return the shipped runner ``name``, or that of ``file:PATH``.

    Args:
        use: What the runner must be good for: a class between `RunnerFile` and the kinds.
        name: Name of a shipped runner, or ``file:`` and a path.
        base: Folder that relative paths start from; None for the working folder.

    Raises:
        ConfigError: If there is no such runner, its file is wrong, or it is for something else.
    """
    path = find_runner(name, base)
    runner = read_runner(path)
    if not isinstance(runner, use):
        fitting = [kind for kind, schema in KINDS.items() if issubclass(schema, use)]
        raise ConfigError(
            f"The runner {name!r} is of kind {runner.kind!r}. {runner.use} "
            f"Needed here is one of kind {', '.join(sorted(fitting))}."
        )
    return runner


def read_runner(path: Path) -> RunnerFile:
    """Read a runner file, whatever its kind.

    Raises:
        ConfigError: If the file cannot be read, or a key is unknown, missing or has a bad value.
    """
    raw = read_yaml(path)
    if "kind" not in raw:
        raise ConfigError(f"{path}: the key 'kind' is missing. Known: {', '.join(sorted(KINDS))}.")
    schema = KINDS.get(str(raw["kind"]))
    if schema is None:
        hint = did_you_mean(str(raw["kind"]), KINDS)
        raise ConfigError(f"{path}: unknown kind {raw['kind']!r}.{hint}")
    try:
        return schema.model_validate(raw)
    except ValidationError as err:
        raise ConfigError(f"{path}: {explain(err, schema)}") from err


def find_runner(name: str, base: Path | None = None) -> Path:
    """Return the file of a runner; arguments and errors are those of `load_runner`."""
    base = base or Path()
    if name.startswith("file:"):
        return base / at_home(name.removeprefix("file:"))
    known = names(FOLDER, ".yaml")
    if name not in known:
        raise ConfigError(
            f"Unknown runner {name!r}.{did_you_mean(name, known)} "
            "A file of your own is written 'file:./mine.yaml'."
        )
    return resource(FOLDER, f"{name}.yaml")
