"""Worker processes on this machine: copies of this process, or processes of their own."""

import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from autoprune.core.workers import Done, Hire, Workers
from autoprune.execution.workers.carried import packed
from autoprune.execution.workers.process import serve

R = TypeVar("R")
_PATIENCE = 5.0  # seconds that a process has to end by itself


def can_fork(device: str, threads: int) -> bool:
    """Tell whether workers may begin as copies of this process, with all it has in memory.

    CUDA and macOS do not survive a fork, nor do the threads of OpenMP: a copy computes with one
    (PyTorch starts none for one thread, its own data loaders go by that).
    """
    forks = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
    return forks and device == "cpu" and not torch.cuda.is_initialized() and threads == 1


def local_workers(count: int, device: str, threads: int) -> Hire:
    """Return what starts processes on this machine, once there is something to do.

    Args:
        count: How many.
        device: Where they compute, ``cpu`` or ``cuda:0``.
        threads: CPU threads of each.
    """
    forks = can_fork(device, threads)

    @contextmanager
    def hire(work: Callable[[Any], R]) -> Iterator[Workers[Any, R]]:
        workers = LocalWorkers(work, count, threads, forks, _gpus(device))
        try:
            yield workers
        finally:
            workers.close()

    return hire


@dataclass(eq=False)
class _Worker:
    """A process: the end of its pipe, what ends it, its GPU and its job.

    Given the seconds that it has to end by itself, ``end`` tells how it ended.
    """

    pipe: Connection
    end: Callable[[float], int | None]
    gpu: str | None = None
    ticket: int | None = None


@dataclass
class LocalWorkers:
    """Processes that do jobs one at a time each; see `autoprune.core.workers.Workers`.

    One that ended is replaced when there is something to do for it.

    Args:
        work: What they do with a job.
        size: How many there are at most.
        threads: CPU threads of each.
        forks: Whether they are copies of this process.
        gpus: What ``CUDA_VISIBLE_DEVICES`` may say, to share out.
    """

    work: Callable[[Any], Any]
    size: int
    threads: int
    forks: bool
    gpus: Sequence[str] = ()
    _workers: list[_Worker] = field(default_factory=list)

    @property
    def staged(self) -> bool:
        """Whether others may end a job after a stage."""
        return False

    def submit(self, ticket: int, job: Any) -> None:
        """Give a job to a process that has none; start one if there is none."""
        for worker in [one for one in self._workers if one.ticket is None]:
            try:
                worker.pipe.send((ticket, job))
            except OSError:  # it ended while it had nothing to do
                self._dismiss(worker)
            else:
                worker.ticket = ticket
                return
        worker = self._started()
        with suppress(OSError):  # it could not begin: whoever waits for the job is told
            worker.pipe.send((ticket, job))
        worker.ticket = ticket

    def wait(self, timeout: float | None = None) -> list[Done[Any]]:
        """Return jobs that were done, and those whose process ended."""
        busy: dict[Any, _Worker] = {w.pipe: w for w in self._workers if w.ticket is not None}
        ready = wait(list(busy), timeout) if busy else []
        return [self._received(busy[pipe]) for pipe in ready]

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers[:]:
            self._dismiss(worker)

    def _received(self, worker: _Worker) -> Done[Any]:
        assert worker.ticket is not None
        given, worker.ticket = worker.ticket, None
        try:
            ticket, result, raised = worker.pipe.recv()
        except (EOFError, OSError):  # it is ending; told to, it would not tell of what
            return Done(given, None, lost=_ending(self._dismiss(worker, patience=_PATIENCE)))
        return Done(ticket, result, raised=raised)

    def _started(self) -> _Worker:
        if self.forks:
            worker = _forked(self.work, self.threads)
        else:
            worker = _spawned(self._packed, self.threads, self._environment)
        self._workers.append(worker)
        return worker

    def _dismiss(self, worker: _Worker, patience: float = 0) -> int | None:
        self._workers.remove(worker)
        worker.pipe.close()
        return worker.end(patience)

    @property
    def _environment(self) -> dict[str, str]:
        """What shows the next worker one GPU, that the fewest have."""
        if not self.gpus:
            return {}
        taken = [one.gpu for one in self._workers]
        return {"CUDA_VISIBLE_DEVICES": min(self.gpus, key=taken.count)}

    @cached_property
    def _packed(self) -> bytes:
        return packed(self.work)


def _forked(work: Callable[[Any], Any], threads: int) -> _Worker:
    context = multiprocessing.get_context("fork")  # type: ignore[attr-defined,unused-ignore]
    ours, theirs = context.Pipe()
    given = (theirs, work, os.getpid(), threads)
    process = context.Process(target=serve, args=given, daemon=True)
    with warnings.catch_warnings():  # a thread that draws a progress bar does no harm
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()

    def end(patience: float) -> int | None:
        process.join(patience)
        process.terminate()
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
        return process.exitcode

    return _Worker(ours, end)


def _gpus(device: str) -> list[str]:
    """Return what names each GPU in ``CUDA_VISIBLE_DEVICES``; none where one is asked for."""
    count = torch.cuda.device_count() if device == "cuda" else 0
    shown = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    return shown if len(shown) == count else [str(number) for number in range(count)]


def _spawned(work: bytes, threads: int, environment: Mapping[str, str]) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __package__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdout=2,  # what is printed there is no part of our output
            env={**os.environ, **environment, "OMP_NUM_THREADS": str(threads)},
        )
    with suppress(OSError):  # it has ended already, which shows when it is given a job
        ours.send((sys.path, os.getpid(), threads))
        ours.send_bytes(work)

    def end(patience: float) -> int:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        process.terminate()
        try:
            return process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    return _Worker(ours, end, environment.get("CUDA_VISIBLE_DEVICES"))


def _ending(code: int | None) -> str:
    """Return how a process ended."""
    return f"ended by signal {-code}" if code is not None and code < 0 else f"exited with {code}"
