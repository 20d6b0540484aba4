"""Who does the work of a search: what is lost is done again, and nobody keeps an old job."""

from collections import deque

import pytest

from autoprune.core.workers import Crew, Done, Inline, WorkersLostError
from autoprune.errors import ModelError


class Scripted:
    """Workers of whose jobs it is said in advance what they come to."""

    size = 2
    staged = False

    def __init__(self, *came: Done[str] | tuple[Done[str], ...]) -> None:
        self.came = deque(came)
        self.given: list[tuple[int, str]] = []

    def submit(self, ticket: int, job: str) -> None:
        self.given.append((ticket, job))

    def wait(self, timeout: float | None = None) -> list[Done[str]]:
        came = self.came.popleft()
        return list(came) if isinstance(came, tuple) else [came]


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


def test_of_two_that_raise_at_once_none_is_waited_for_any_more() -> None:
    full: list[Done[str]] = [Done(at, None, raised=ModelError(f"full {at}")) for at in (1, 2)]
    crew = Crew(Scripted((full[0], Done(3, "fine"), full[1])))
    for ticket in (1, 2, 3):
        crew.give(ticket, "a")
    found = crew.done()
    assert next(found) == (3, "fine")
    with pytest.raises(ModelError, match="full 1"):
        next(found)
    assert crew.busy == 0
    crew.drain()


def test_who_takes_results_may_end_that_and_nothing_is_waited_for() -> None:
    crew = Crew(Scripted((Done(1, "a"), Done(2, "b"))))
    crew.give(1, "a")
    crew.give(2, "b")
    assert next(crew.done()) == (1, "a")
    assert crew.busy == 0


def test_this_process_keeps_no_job_that_raised() -> None:
    def full(job: str) -> str:
        raise ModelError("full")

    crew = Crew(Inline(full))
    crew.give(1, "a")
    with pytest.raises(ModelError, match="full"):
        list(crew.done())
    crew.drain()
    assert crew.busy == 0
