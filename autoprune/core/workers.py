"""Who does the work of a search: a protocol, so that the search itself starts no process."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

J = TypeVar("J")
J_contra = TypeVar("J_contra", contravariant=True)
R = TypeVar("R")
_ATTEMPTS = 3  # workers that a job may cost, before it is to blame


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """A job that left its worker.

    Args:
        ticket: Number of the job.
        result: What it gave; None where it gave nothing.
        lost: How the worker came to its end, if it did.
        raised: What the work raised, if it did.
    """

    ticket: int
    result: R | None
    lost: str = ""
    raised: BaseException | None = None


class Workers(Protocol[J_contra, R]):
    """Some workers that all do one kind of work."""

    @property
    def size(self) -> int:
        """How many jobs they can do at the same time, at least 1; it may change."""

    @property
    def staged(self) -> bool:
        """Whether others may end a job after a stage: then all jobs have to be of one kind."""

    def submit(self, ticket: int, job: J_contra) -> None:
        """Give a job; no more than `size` are given at once."""

    def wait(self, timeout: float | None = None) -> list[Done[R]]:
        """Return jobs that left their workers, at least one unless the timeout is over.

        Args:
            timeout: Seconds; None waits as long as it takes.
        """


class Hire(Protocol):
    """Starts workers for some work, which last as long as the block."""

    def __call__(self, work: Callable[[Any], R]) -> AbstractContextManager[Workers[Any, R]]:
        """Return the workers.

        Args:
            work: What each does with a job.
        """


class Inline(Generic[J, R]):
    """One worker: this process, at the moment when it waits.

    Args:
        work: What is done with a job.
    """

    size = 1
    staged = False

    def __init__(self, work: Callable[[J], R]) -> None:
        self._work = work
        self._jobs: deque[tuple[int, J]] = deque()

    def submit(self, ticket: int, job: J) -> None:
        """Keep a job until somebody waits for it."""
        self._jobs.append((ticket, job))

    def wait(self, timeout: float | None = None) -> list[Done[R]]:
        """Do the next job, however long it takes."""
        if not self._jobs:
            return []
        ticket, job = self._jobs.popleft()
        try:
            return [Done(ticket, self._work(job))]
        except Exception as err:
            return [Done(ticket, None, raised=err)]


@contextmanager
def inline(work: Callable[[J], R]) -> Iterator[Workers[J, R]]:
    """Let this process do the work."""
    yield Inline(work)


class WorkersLostError(Exception):
    """A job took several workers with it."""


@dataclass
class Crew(Generic[J, R]):
    """Workers, and the jobs they have: what was lost with a worker is given to another one.

    Args:
        workers: Who works.
        attempts: Workers that a job may cost.
        lost: How workers that were lost came to their end.
    """

    workers: Workers[J, R]
    attempts: int = _ATTEMPTS
    lost: list[str] = field(default_factory=list)
    _jobs: dict[int, J] = field(default_factory=dict)
    _losses: dict[int, int] = field(default_factory=dict)

    @property
    def busy(self) -> int:
        """How many jobs are being done."""
        return len(self._jobs)

    @property
    def free(self) -> bool:
        """Whether another job can be given."""
        return len(self._jobs) < self.workers.size

    def give(self, ticket: int, job: J) -> None:
        """Give a job, under a number that no other one has."""
        self._jobs[ticket] = job
        self.workers.submit(ticket, job)

    def done(self, timeout: float | None = None) -> Iterator[tuple[int, R | WorkersLostError]]:
        """Yield number and result of jobs that are done; wait for one, or for the timeout.

        Raises:
            Exception: Whatever the work raised, after the results that are there.
        """
        left = self.workers.wait(timeout)
        found: list[tuple[int, R | WorkersLostError]] = []
        for one in left:  # all before any is told: who is told may end this
            if one.lost:
                found += self._lost(one)
                continue
            self._forget(one.ticket)
            if one.raised is None:
                found.append((one.ticket, one.result))  # type: ignore[arg-type]
        yield from found
        for one in left:
            if one.raised is not None:
                raise one.raised

    def drain(self) -> None:
        """Wait until nobody has a job any more, whatever they come to."""
        while self._jobs:
            for one in self.workers.wait():
                self._forget(one.ticket)

    def _lost(self, one: Done[R]) -> Iterator[tuple[int, WorkersLostError]]:
        """Give a job to another worker, or give it up."""
        self.lost.append(one.lost)
        self._losses[one.ticket] = self._losses.get(one.ticket, 0) + 1
        if self._losses[one.ticket] < self.attempts:
            self.workers.submit(one.ticket, self._jobs[one.ticket])
        else:
            self._forget(one.ticket)
            yield one.ticket, WorkersLostError(f"{self.attempts} workers, the last {one.lost}")

    def _forget(self, ticket: int) -> None:
        del self._jobs[ticket]
        self._losses.pop(ticket, None)
