"""Who does the work of a search: what is lost is done again, and nobody keeps an old job."""

from collections import deque

import pytest

from autoprune.core.workers import Crew, Done, WorkersLostError
from autoprune.errors import ModelError


class Scripted:
    """Workers of whose jobs it is said in advance what they come to."""

    size = 2
    staged = False

    def __init__(self, *came: Done[str]) -> None:
        self.came = deque(came)
        self.given: list[tuple[int, str]] = []

    def submit(self, ticket: int, job: str) -> None:
        self.given.append((ticket, job))

    def wait(self, timeout: float | None = None) -> list[Done[str]]:
        return [self.came.popleft()]


def test_a_lost_job_is_given_again_until_it_is_to_blame() -> None:
    workers = Scripted(*[Done(1, None, lost="ended by signal 9")] * 3)
    crew = Crew(workers)
    crew.give(1, "a")
    assert [list(crew.done()) for _ in range(2)] == [[], []]
    ((ticket, found),) = crew.done()
    assert ticket == 1
    assert isinstance(found, WorkersLostError)
    assert str(found) == "3 workers, the last ended by signal 9"
    assert workers.given == [(1, "a")] * 3
    assert crew.busy == 0


def test_after_a_problem_it_can_be_drained_and_given_other_jobs() -> None:
    full: Done[str] = Done(1, None, raised=ModelError("full"))
    gone: Done[str] = Done(2, None, lost="gone")
    crew = Crew(Scripted(full, gone, Done(2, "new")))
    crew.give(1, "a")
    crew.give(2, "b")
    with pytest.raises(ModelError, match="full"):
        list(crew.done())
    crew.drain()
    assert crew.busy == 0
    crew.give(2, "c")
    assert list(crew.done()) == [(2, "new")]
