"""Workers that are trials of Ray Tune, which one of its schedulers may stop early."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from queue import Empty
from typing import Any, TypeVar

from ray import tune
from ray.tune.schedulers import TrialScheduler

from autoprune.core.staged import StagedWork
from autoprune.core.workers import Done, Hire, Workers
from autoprune.execution.workers.carried import packed
from autoprune.execution.workers.head import Head
from autoprune.execution.workers.reasons import blaming_ray, gone
from autoprune.execution.workers.tune_events import Closing, Exchange, JobCallback, JobSearcher
from autoprune.execution.workers.tune_experiment import place, tuner
from autoprune.execution.workers.tune_hyperband import HyperBand
from autoprune.execution.workers.tune_trial import JobTrial

R = TypeVar("R")
_HIRED: list["TuneWorkers"] = []  # of this process, which one cluster serves
_PATIENCE = 2.0  # seconds that stages have to end by themselves
_END = 15.0  # seconds that Tune has to end after that


def tune_workers(
    count: int,
    options: Mapping[str, Any],
    threads: int,
    scheduler: Callable[[int], TrialScheduler],
    name: str,
    storage: str | None,
) -> Hire:
    """Return what starts Ray Tune on the cluster that this process is connected to.

    Args:
        count: How many trials run at a time.
        options: What each needs of the cluster, as Ray's actors take it.
        threads: CPU threads of PyTorch in each.
        scheduler: Makes the scheduler, given how many stages a job has.
        name: What the scheduler is called in outcomes.
        storage: Where trials that rest are kept, as all nodes see it; None for a folder of this
            machine, for a while.
    """

    @contextmanager
    def hire(work: Callable[[Any], R]) -> Iterator[Workers[Any, R]]:
        stages = work.stages if isinstance(work, StagedWork) else 1
        with place(storage) as where:
            given = (count, options, threads, partial(scheduler, stages), where)
            workers = TuneWorkers(work, *given, Exchange(f"Ray Tune's {name}"))
            _HIRED.append(workers)
            try:
                yield workers
            finally:
                _HIRED.remove(workers)
                workers.close()

    return hire


def let_idle_ones_go() -> None:
    """End the processes that Tune keeps for jobs of this search, as long as there are none.

    They hold their share of the cluster, and what else runs on it may wait for that for ever.
    """
    for workers in _HIRED:
        workers.rest()


@dataclass(eq=False)
class TuneWorkers:
    """Trials of one run of Ray Tune, in a thread; see `autoprune.core.workers.Workers`.

    Args:
        work: What they do with a job; where it is `StagedWork`, the scheduler decides after each
            stage.
        count: How many run at a time.
        options: What each needs.
        threads: CPU threads of each.
        scheduler: Makes what stops trials, or lets them rest.
        where: Where trials that rest are kept.
        exchange: What passes between this and Tune.
    """

    work: Callable[[Any], Any]
    count: int
    options: Mapping[str, Any]
    threads: int
    scheduler: Callable[[], TrialScheduler]
    where: str
    exchange: Exchange
    _given: set[int] = field(default_factory=set)
    _begun: bool = False
    _thread: Any = None

    @property
    def size(self) -> int:
        """How many run at a time, and how many rest besides."""
        return self.count + self.exchange.resting

    @property
    def staged(self) -> bool:
        """Whether a scheduler may end a job after a stage."""
        return isinstance(self.work, StagedWork)

    def submit(self, ticket: int, job: Any) -> None:
        """Let Tune have a job."""
        self._given.add(ticket)
        self.exchange.give(ticket, job)
        if not self._begun:
            with blaming_ray():
                self._thread = self._made()
                self._thread.start()
            self._begun = True

    def wait(self, timeout: float | None = None) -> list[Done[Any]]:
        """Return jobs that came to an end; none where one rests, so there is room for another.

        Raises:
            InfrastructureError: If the cluster is gone, or processes cannot begin.
        """
        if not self._given:
            return []
        # there was room for others, and none was given
        self.exchange.starving = len(self._given) == self.exchange.resting
        found = self._head.watched(self._news, timeout)
        self._given.difference_update(done.ticket for done in found if done)
        return [done for done in found if done]

    def _news(self, seconds: float) -> list[Done[Any] | None]:
        """Return what Tune has told, nothing if it tells nothing for so long.

        Raises:
            InfrastructureError: If Tune told that it cannot go on, and nothing before.
        """
        found: list[Done[Any] | None] = []
        with suppress(Empty):
            one = self.exchange.news.get(timeout=seconds)
            while not isinstance(one, BaseException):
                found.append(one)
                one = self.exchange.news.get_nowait()
            if not found:
                raise one
            self.exchange.news.put(one)  # what was found comes first
        return found

    def close(self) -> None:
        """End all trials, and Tune."""
        self.exchange.closed = True
        if not self._begun or self._head.gone:
            return
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self.exchange.kill()
            self._thread.join(_END)

    @cached_property
    def _head(self) -> Head:
        return Head.connected()

    def rest(self) -> None:
        """End Tune until there is another job, if there is none now."""
        if self._begun and not self._given:
            self.close()
            self.exchange, self._begun = self.exchange.anew(), False

    def _made(self) -> threading.Thread:
        given = (self._tuner(packed(self.work)), self.exchange)
        return threading.Thread(target=_run, args=given, name="ray-tune", daemon=True)

    def _tuner(self, content: bytes) -> tune.Tuner:
        scheduler = self.scheduler()
        if isinstance(scheduler, HyperBand):
            scheduler.starving = self.exchange.hungry
        return tuner(
            JobTrial,
            {"content": content, "threads": self.threads},
            self.options,
            self.where,
            choice={
                "search_alg": JobSearcher(self.exchange),
                "scheduler": scheduler,
                "num_samples": -1,
                "max_concurrent_trials": self.count,
            },
            run={
                "stop": Closing(self.exchange),
                "callbacks": [JobCallback(self.exchange)],
                "checkpoint_config": tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
            },
        )


def _run(experiment: tune.Tuner, exchange: Exchange) -> None:
    try:
        experiment.fit()
    except Exception as err:  # whatever it is, nobody else hears of it
        exchange.news.put(gone(err))
    finally:
        if not exchange.closed:
            exchange.news.put(gone(RuntimeError("Ray Tune has ended")))
