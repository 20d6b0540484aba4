"""A population that is trained together: the worse go on from what the better ones have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from autoprune.core.staged import Course

J = TypeVar("J")
J_contra = TypeVar("J_contra", contravariant=True)
R = TypeVar("R")


class PacedCourse(Course[R], Protocol[R]):
    """A training on its way whose learning rate can be changed."""

    def set_pace(self, pace: float) -> None:
        """Train at so many times the schedule's learning rate from here on."""


class PacedWork(Protocol[J_contra, R]):
    """What is done with the members of a population; it can be pickled."""

    def begin(self, job: J_contra, state: dict[str, Any] | None = None) -> PacedCourse[R]:
        """Return a training, from its start or from a state of another one of the same job."""


@dataclass(frozen=True, slots=True)
class Member(Generic[R]):
    """Where a member of a population ended.

    Args:
        results: What it reported, by stage; those before it went on from another one are its own.
        state: Its state at the end; None if it failed.
    """

    results: tuple[R, ...]
    state: dict[str, Any] | None


class Populate(Protocol):
    """Trains a population."""

    def __call__(self, work: PacedWork[Any, R], jobs: Sequence[Any]) -> Sequence[Member[R]]:
        """Return where each member ended, in the order of their first jobs.

        Args:
            work: What is done with them.
            jobs: What each begins with.

        Raises:
            InfrastructureError: If the cluster is gone.
        """
