"""Work that comes in stages: others may end it after any of them, or let it rest."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
J_contra = TypeVar("J_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Interim(Generic[R]):
    """What a job has come to after a stage.

    Args:
        result: What it gives if it goes no further.
        value: What it is compared by with others that got as far, lower is better; NaN if it
            failed.
        over: Whether it has come to its end.
    """

    result: R
    value: float
    over: bool


class Course(Protocol[R]):
    """A job on its way."""

    def advance(self) -> Interim[R]:
        """Go on to the next stage.

        Raises:
            Exception: Whatever the work raises.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on; it can be pickled."""


@runtime_checkable
class StagedWork(Protocol[J_contra, R]):
    """What workers do with a job, in one go or stage by stage; it can be pickled."""

    @property
    def stages(self) -> int:
        """How many stages a job has that comes to its end, at least 1."""

    def __call__(self, job: J_contra) -> R:
        """Do a job in one go."""

    def begin(self, job: J_contra, stopped: str, state: dict[str, Any] | None = None) -> Course[R]:
        """Return a job on its way, which nothing but others end.

        Args:
            job: The job.
            stopped: Who may end it, for its result.
            state: What it goes on from; None for its start.
        """
