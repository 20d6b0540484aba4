"""Workers on a Ray cluster: one actor each, wherever Ray finds room for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from autoprune.core.workers import Done, Hire, Workers
from autoprune.execution.workers.carried import packed, unpacked
from autoprune.execution.workers.head import Head
from autoprune.execution.workers.process import outcome
from autoprune.execution.workers.reasons import (
    MOST_STILLBORN,
    blaming_ray,
    end_of,
    gone,
    stillborn,
)

R = TypeVar("R")
# an actor that ended or was ended, or whose node was lost with what it had given
_LOST = (RayActorError, NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError)


def ray_workers(count: int, options: Mapping[str, Any], threads: int) -> Hire:
    """Return what starts actors on the cluster that this process is connected to.

    Args:
        count: How many.
        options: What each needs of the cluster, as Ray's actors take it.
        threads: CPU threads of PyTorch in each.
    """

    @contextmanager
    def hire(work: Callable[[Any], R]) -> Iterator[Workers[Any, R]]:
        workers = RayWorkers(work, count, options, threads)
        try:
            yield workers
        finally:
            workers.close()

    return hire


class _Actor:
    """What runs on the cluster."""

    def __init__(self, content: bytes, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._work = unpacked(content)

    def ready(self) -> None:
        """Return once it is there."""

    def do(self, job: Any) -> tuple[Any, BaseException | None]:
        """Return what the work gave, and what it raised."""
        return outcome(self._work, job)


@dataclass(eq=False)
class _Worker:
    """An actor, what tells that it is there, and the job that it has."""

    actor: Any
    begun: Any
    there: bool = False
    ticket: int | None = None
    promise: Any = None


@dataclass
class RayWorkers:
    """Actors that do jobs one at a time each; see `autoprune.core.workers.Workers`.

    The work travels once to each node. An actor that ended is replaced.

    Args:
        work: What they do with a job.
        count: How many there are at most; fewer as long as the cluster has no room for more.
        options: What each needs.
        threads: CPU threads of each.
    """

    work: Callable[[Any], Any]
    count: int
    options: Mapping[str, Any]
    threads: int
    _workers: list[_Worker] = field(default_factory=list)
    _content: Any = None
    _broken: int = 0

    @property
    def size(self) -> int:
        """How many are there, at least 1."""
        return max(sum(one.there for one in self._workers), 1)

    @property
    def staged(self) -> bool:
        """Whether others may end a job after a stage."""
        return False

    def submit(self, ticket: int, job: Any) -> None:
        """Give a job to an actor that has none, one that is there if possible."""
        self._fill()
        idle = [one for one in self._workers if one.ticket is None]
        worker = max(idle, key=lambda one: one.there)
        worker.ticket, worker.promise = ticket, worker.actor.do.remote(job)

    def wait(self, timeout: float | None = None) -> list[Done[Any]]:
        """Return jobs that were done or lost; none where an actor has come that has no job yet.

        Raises:
            InfrastructureError: If actors cannot begin, or the cluster is gone.
        """
        jobs = {one.promise: one for one in self._workers if one.ticket is not None}
        comers = {one.begun: one for one in self._workers if not one.there}
        if not jobs:
            return []
        with blaming_ray():
            first = partial(_ready, [*jobs, *comers])
            ready = self._head.watched(first, timeout)
            more, _ = ray.wait([*jobs, *comers], num_returns=len(jobs) + len(comers), timeout=0)
        ready = list(dict.fromkeys([*ready, *more]))
        for promise in ready:
            if promise in comers:
                self._welcome(comers[promise])
        return [self._received(jobs[promise]) for promise in ready if promise in jobs]

    def close(self) -> None:
        """End all actors; there are none of a cluster that is gone."""
        for worker in self._workers if not self._head.gone else ():
            ray.kill(worker.actor)
        self._workers.clear()

    @cached_property
    def _head(self) -> Head:
        return Head.connected()

    def _fill(self) -> None:
        if self._content is None:
            self._head.need()
            self._content = ray.put(packed(self.work))
        remote: Any = ray.remote(_Actor)
        while len(self._workers) < self.count:
            self._head.need()
            actor = remote.options(**self.options).remote(self._content, self.threads)
            self._workers.append(_Worker(actor, actor.ready.remote()))

    def _welcome(self, worker: _Worker) -> None:
        try:
            ray.get(worker.begun)
        except RayError as err:
            self._broken += 1
            if self._broken >= MOST_STILLBORN:
                raise stillborn(self._broken, err) from None
            if worker.ticket is None:
                self._let_go(worker)
        else:
            worker.there, self._broken = True, 0

    def _received(self, worker: _Worker) -> Done[Any]:
        assert worker.ticket is not None
        given, worker.ticket = worker.ticket, None
        try:
            result, raised = ray.get(worker.promise)
        except _LOST as err:
            self._let_go(worker)
            return Done(given, None, lost=end_of(err))
        except RayError as err:
            raise gone(err) from None
        return Done(given, result, raised=raised)

    def _let_go(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._head.need()
        ray.kill(worker.actor)  # one that could not be reached may work on, and keep its room


def _ready(promises: list[Any], seconds: float) -> list[Any]:
    """Return the first promise that is kept, none if the time is over."""
    ready, _ = ray.wait(promises, num_returns=1, timeout=seconds)
    return list(ready)
