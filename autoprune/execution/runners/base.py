"""What runner files of every kind have in common."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator

from autoprune.core.numbers import parse_count
from autoprune.core.population import Populate
from autoprune.core.recovery import Recovery
from autoprune.core.secrets import holds_secret
from autoprune.core.workers import Hire


def count_or_auto(given: Any, info: ValidationInfo) -> int | Literal["auto"]:
    """Return the value of a key that is a number of at least 1, or ``auto``."""
    return parse_count(given, str(info.field_name))


Count = Annotated[int | Literal["auto"], BeforeValidator(count_or_auto)]


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
            if holds_secret(text):
                raise ValueError(
                    f"the key {key!r} holds a password or token. Runner files are shared and "
                    "end up in job files: put the URL into an environment variable or a secret "
                    "of the cluster, for instance AUTOPRUNE_DATABASE."
                )
        return given


@dataclass(frozen=True)
class Place:
    """Where a search computes.

    Args:
        device: Of the searching process itself, as PyTorch names it.
        hire: Starts those who probe units and score policies.
        populate: Trains finalists as a population; None where each is trained by itself.
    """

    device: str
    hire: Hire
    populate: Populate | None = None


class SearchRunner(RunnerFile):
    """A runner that a search can run on right away, started by the process that asks for it.

    Args:
        workers: How many policies are scored at a time.
    """

    workers: Count = 1

    def with_workers(self, workers: int | Literal["auto"] | None) -> Self:
        """Return this runner with another number of workers; None leaves it as it is.

        Raises:
            ConfigError: If it is no number of at least 1 and not ``auto``.
        """
        if workers is None:
            return self
        return self.model_copy(update={"workers": parse_count(workers, "workers")})

    def told(self, given: "str | SearchRunner") -> dict[str, Any]:
        """Return what reports say of it, as plain JSON types.

        Args:
            given: What somebody gave: its name, or the runner itself.
        """
        name = given if isinstance(given, str) else ""
        return {"runner": name, "kind": self.kind, "workers": self.workers}

    use: ClassVar[str] = "It runs searches: autoprune search --runner, or the key 'runner'."

    def check(self, recovery: Recovery | None = None, *, own_training: bool = False) -> None:
        """Look for what cannot work, before anything is started.

        Args:
            recovery: How candidates and finalists are trained, None where nobody knows yet.
            own_training: Whether the user's own function trains finalists.

        Raises:
            ConfigError: If something the runner says cannot be used.
        """

    def applied(self) -> AbstractContextManager[Place]:
        """Set up the place for a while.

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
