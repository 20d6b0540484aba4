"""Every kind of workers does what the search expects of them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from autoprune.core.staged import StagedWork
from autoprune.core.workers import Crew, Hire, Inline, Workers, WorkersLostError
from autoprune.execution.workers.local import _gpus, can_fork, local_workers
from autoprune.testing.workers import WorkersContract


class TestForked(WorkersContract):
    def make(self) -> Hire:
        assert can_fork("cpu", 1)
        return local_workers(2, "cpu", 1)


class TestSpawned(WorkersContract):
    def make(self) -> Hire:
        assert not can_fork("cpu", 2)
        return local_workers(2, "cpu", 2)


def never() -> None:
    raise RuntimeError("this cannot be unpacked there")


class Stranded:
    """Work that no process can unpack, as where a GPU is not seen there."""

    def __reduce__(self) -> Any:
        return never, ()

    def __call__(self, job: int) -> int:
        return job


def test_a_worker_that_could_not_begin_tells_how_it_ended() -> None:
    with local_workers(1, "cpu", 2)(Stranded()) as workers:
        workers.submit(7, 1)
        (done,) = workers.wait(60)
    assert (done.ticket, done.lost) == (7, "exited with 1")


def nothing(_: bytes, job: int) -> int:
    return job


def test_workers_that_end_before_they_have_read_their_work_are_lost_and_no_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 7\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    work = partial(nothing, bytes(2**22))  # more than a pipe holds
    with local_workers(1, "cpu", 2)(work) as workers:
        crew = Crew(workers)
        crew.give(0, 1)
        found: dict[int, Any] = {}
        while crew.busy:
            found |= dict(crew.done(30))
    assert isinstance(found[0], WorkersLostError)
    assert str(found[0]) == "3 workers, the last exited with 7"


@pytest.mark.parametrize(
    ("shown", "count", "names"),
    [
        (None, 1, ["0"]),
        ("", 1, ["0"]),
        (None, 3, ["0", "1", "2"]),
        ("5", 1, ["5"]),
        ("2,GPU-8a", 2, ["2", "GPU-8a"]),
    ],
)
def test_workers_are_shown_the_gpus_that_this_process_sees(
    monkeypatch: pytest.MonkeyPatch, shown: str | None, count: int, names: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert _gpus("cuda") == names
    assert _gpus("cpu") == []


class Mute:
    """They do not say whether others may end a job after a stage."""

    size = 1

    def __init__(self, work: Callable[[Any], Any]) -> None:
        inline: Inline[Any, Any] = Inline(work)
        self.submit, self.wait = inline.submit, inline.wait


class Staging(Inline[Any, Any]):
    """They do jobs stage by stage, end them after the first one, and say as much."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        def begun(job: Any) -> Any:
            return work.begin(job, "mine").advance().result  # type: ignore[attr-defined]

        self.staged = isinstance(work, StagedWork)
        super().__init__(begun if self.staged else work)


class Secret(Staging):
    """They do jobs stage by stage and do not say so."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        super().__init__(work)
        self.staged = False


class Boastful(Inline[Any, Any]):
    """They do jobs in one go and say that others may end them."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        super().__init__(work)
        self.staged = isinstance(work, StagedWork)


class Stubborn(Inline[Any, Any]):
    """They say that others may end jobs, whatever the work is."""

    staged = True


def held(kind: Callable[[Callable[[Any], Any]], Workers[Any, Any]]) -> WorkersContract:
    """Return the contract for workers of one kind."""

    @contextmanager
    def hire(work: Callable[[Any], Any]) -> Iterator[Workers[Any, Any]]:
        yield kind(work)

    class Held(WorkersContract):
        def make(self) -> Hire:
            return hire

    return Held()


@pytest.mark.parametrize("kind", [Inline, Staging])
def test_workers_that_say_how_they_do_jobs_pass(
    kind: Callable[[Callable[[Any], Any]], Workers[Any, Any]],
) -> None:
    held(kind).test_whether_others_may_end_a_job_after_a_stage_is_told()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Mute, "'Mute' object has no attribute 'staged'"),
        (Secret, "`staged` is false, and jobs were done stage by stage"),
        (Boastful, "`staged` is true, and jobs were done in one go"),
        (Stubborn, "this work has no stages"),
    ],
)
def test_workers_that_say_otherwise_are_caught(kind: Any, message: str) -> None:
    with pytest.raises((AssertionError, AttributeError), match=message):
        held(kind).test_whether_others_may_end_a_job_after_a_stage_is_told()
