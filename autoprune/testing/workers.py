"""What workers of every kind must do; see `autoprune.core.workers.Workers`.

Subclass `WorkersContract` in a test file of your own and return from `make` what starts yours.
"""

import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autoprune.core.staged import Interim
from autoprune.core.workers import Crew, Hire, WorkersLostError
from autoprune.errors import DataError

_PATIENCE = 120.0  # seconds in which workers start


class WorkersContract:
    """Subclass it, return what starts your workers from `make`, and let pytest collect it.

    >>> class TestMine(WorkersContract):
    ...     def make(self) -> Hire:
    ...         return my_workers(2)
    """

    def make(self) -> Hire:
        """Return what starts at least two workers."""
        raise NotImplementedError

    def test_each_job_is_done_once(self) -> None:
        """Every job that is given comes back, with its number."""
        with self.make()(_squared) as workers:
            assert dict(_all(Crew(workers), range(9))) == {n: n * n for n in range(9)}

    def test_jobs_are_done_at_the_same_time(self) -> None:
        """Two jobs that wait for each other both end."""
        with self.make()(_met) as workers, _folder() as folder:
            crew = Crew(workers)
            assert dict(_all(crew, [(folder, "a", "b"), (folder, "b", "a")])) == {0: True, 1: True}

    def test_no_more_jobs_are_taken_than_there_are_workers(self) -> None:
        """A crew is free until every worker has a job."""
        with self.make()(_squared) as workers:
            crew = Crew(workers)
            given = 0
            while crew.free:
                crew.give(given, given)
                given += 1
            assert given == crew.busy == workers.size

    def test_a_wait_ends_with_its_timeout(self) -> None:
        """Nothing comes back before it is done."""
        with self.make()(time.sleep) as workers:
            workers.submit(0, _PATIENCE)
            assert workers.wait(0.05) == []

    def test_what_the_work_raises_is_raised_and_the_workers_go_on(self) -> None:
        """An error of ours comes as it is."""
        with self.make()(_refused) as workers:
            crew = Crew(workers)
            crew.give(0, "these targets")
            raised = ""
            try:
                _until_done(crew)
            except DataError as err:
                raised = str(err)
            assert raised == "these targets", "an error of the work comes as it was raised"
            crew.give(1, None)
            assert dict(_until_done(crew)) == {1: None}

    def test_a_job_whose_worker_dies_is_done_by_another(self) -> None:
        """Others are not harmed."""
        with self.make()(_dying) as workers, _folder() as folder:
            jobs = [(folder, "other", 0), (folder, "it", 2), (folder, "last", 0)]
            assert dict(_all(Crew(workers), jobs)) == {0: 0, 1: 2, 2: 0}

    def test_a_job_that_kills_every_worker_is_given_up(self) -> None:
        """And the next one is done."""
        with self.make()(_dying) as workers, _folder() as folder:
            crew = Crew(workers)
            found = dict(_all(crew, [(folder, "it", 99), (folder, "other", 0)]))
            assert isinstance(found[0], WorkersLostError)
            assert "3 workers" in str(found[0])
            assert found[1] == 0

    def test_code_that_has_no_name_elsewhere_travels(self) -> None:
        """Functions made on the way are work too."""
        with self.make()(partial(lambda more, job: job + more, 3)) as workers:
            assert dict(_all(Crew(workers), [1, 2])) == {0: 4, 1: 5}

    def test_whether_others_may_end_a_job_after_a_stage_is_told(self) -> None:
        """`staged` says how jobs are done; work without stages is always done in one go."""
        with self.make()(_squared) as workers:
            assert workers.staged is False, "this work has no stages that others could end"
        with self.make()(_InStages()) as workers:
            found = dict(_all(Crew(workers), ["a", "b", "c"]))
            staged = workers.staged
        assert [found[at][0] for at in range(3)] == ["a", "b", "c"]
        whole = [by == "" for _, by in found.values()]
        if staged:
            assert not any(whole), "`staged` is true, and jobs were done in one go"
        else:
            assert all(whole), "`staged` is false, and jobs were done stage by stage"


class _InStages:
    """Work with two stages; a result holds the job, and who might have ended it after the first.

    That is empty where the job was done in one go.
    """

    stages = 2

    def __call__(self, job: str) -> tuple[str, str]:
        """Do a job in one go."""
        return job, ""

    def begin(self, job: str, stopped: str, state: dict[str, Any] | None = None) -> "_Walk":
        """Return a job on its way."""
        return _Walk((job, stopped), **(state or {}))


@dataclass
class _Walk:
    result: tuple[str, str]
    reached: int = 0

    def advance(self) -> Interim[tuple[str, str]]:
        self.reached += 1
        return Interim(self.result, float(self.reached), self.reached == _InStages.stages)

    def state_dict(self) -> dict[str, Any]:
        return {"reached": self.reached}


def _all(crew: Crew[Any, Any], jobs: Any) -> list[tuple[int, Any]]:
    left = list(enumerate(jobs))[::-1]
    found: list[tuple[int, Any]] = []
    while left or crew.busy:
        while left and crew.free:
            crew.give(*left.pop())
        found += crew.done(_PATIENCE)
    return found


def _until_done(crew: Crew[Any, Any]) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    while crew.busy:
        found += crew.done(_PATIENCE)
    return found


def _folder() -> AbstractContextManager[str]:
    from tempfile import TemporaryDirectory

    return TemporaryDirectory()


def _squared(job: int) -> int:
    return job * job


def _met(job: tuple[str, str, str]) -> bool:
    folder, own, other = job
    (Path(folder) / own).touch()
    until = time.monotonic() + _PATIENCE
    while not (Path(folder) / other).exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _refused(job: str | None) -> None:
    if job is not None:
        raise DataError(job)


def _dying(job: tuple[str, str, int]) -> int:
    """End this process the first few times; return how often that was."""
    folder, name, times = job
    died = len(list(Path(folder).glob(f"{name}-*")))
    if died < times:
        (Path(folder) / f"{name}-{died}").touch()
        os._exit(9)
    return died
