"""What runners have in common that a scheduler of a cluster starts: jobs."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from autoprune.core.numbers import parse_duration
from autoprune.core.secrets import sounds_secret
from autoprune.execution.runners.base import RunnerFile

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def seconds(key: str) -> BeforeValidator:
    """Return what reads ``90s``, ``10m``, ``6h`` as seconds for a key of a runner file."""
    return BeforeValidator(lambda given: parse_duration(given, f"{key!r}"))


def matching(key: str, form: str, told: str) -> AfterValidator:
    """Return what refuses texts that are not of a form, which is told in the error."""

    def check(given: Any) -> Any:
        if given is not None and not re.fullmatch(form, str(given), re.ASCII):
            raise ValueError(f"{key!r} must be {told}. Got {given!r}.")
        return given

    return AfterValidator(check)


def _variables(given: Mapping[str, str]) -> Mapping[str, str]:
    for name in given:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an environment variable.")
    return given


def _public(given: Mapping[str, str]) -> Mapping[str, str]:
    for name in given:
        if sounds_secret(name):
            raise ValueError(
                f"the key 'env' sets {name!r}, which sounds like a secret, and values under 'env' "
                "are written into job files. Name where it lies: under 'secrets' for Kubernetes, "
                "under 'secret_files' for Slurm and Ray."
            )
    return given


Variables = Annotated[dict[str, str], AfterValidator(_variables)]
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]


class JobRunner(RunnerFile):
    """A runner whose searches are jobs of a scheduler.

    Args:
        kind: Which scheduler.
        search_runner: Runner of the search inside the job; None takes the Ray cluster that the
            job has, else the search file's.
        runs: Folder on the cluster for runs, in which each job has its own; None for the search
            file's ``out``.
        env: Environment variables of the search; no secrets.
    """

    use: ClassVar[str] = "It is for jobs: autoprune jobs render FILE --runner NAME."

    kind: str
    search_runner: str | None = None
    runs: str | None = None
    env: Annotated[Variables, AfterValidator(_public)] = Field(default_factory=dict)

    @property
    def on_ray(self) -> bool:
        """Whether the job runs on a Ray cluster."""
        return False

    @property
    def runner_inside(self) -> str | None:
        """The runner of the search as its command names it; None for the search file's."""
        return self.search_runner or ("ray-cluster" if self.on_ray else None)
