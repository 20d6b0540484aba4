"""Workers that only seem to work, and the clock that goes with them."""

import heapq
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from autoprune.agent.evaluating.scoring import Scoring
from autoprune.core.workers import Done
from autoprune.storage.records import Evaluation

_SHAPE = 4.0  # of the gamma distribution of scoring times: a deviation of half the mean
_RESTART = 5.0  # seconds until a worker that died is replaced
Clock = Callable[[], float]


class VirtualClock:
    """Seconds that the driver was at work, and those that it waited for the next end.

    Args:
        real: What the driver's own work is measured by.
    """

    def __init__(self, real: Clock = time.process_time) -> None:
        self._real, self._since, self._skipped, self._outside = real, real(), 0.0, 0.0

    @property
    def worked(self) -> float:
        """Seconds that the driver was at work."""
        return self._real() - self._since - self._outside

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.worked + self._skipped

    def skip_to(self, moment: float) -> None:
        """Go on to a moment, if it is not past."""
        self._skipped += max(moment - self.now, 0.0)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave out what is no work of the driver's."""
        begun = self._real()
        yield
        self._outside += self._real() - begun


@dataclass(order=True)
class _Job:
    end: float
    ticket: int
    begin: float = field(compare=False)
    job: Scoring = field(compare=False)
    lost: bool = field(compare=False)


@dataclass
class VirtualWorkers:
    """Takes as long as drawn to score a policy; see `autoprune.core.workers.Workers`.

    Jobs are pickled, as if they were sent.

    Args:
        size: How many there are.
        score: What is found of a job, and how many seconds that takes is told to it.
        clock: The time.
        rng: Draws scoring times and deaths.
        mean: Seconds that scoring takes on average.
        dying: Share of evaluations that lose their worker, somewhere on the way.
    """

    size: int
    score: Callable[[Scoring, float], Evaluation]
    clock: VirtualClock
    rng: np.random.Generator
    mean: float
    dying: float
    sent: int = 0  # bytes of all jobs
    busy: list[tuple[float, float]] = field(default_factory=list)  # begin and end of all jobs
    _last: float = 0.0  # when a policy was begun that was not lost before
    _jobs: list[_Job] = field(default_factory=list)
    _died: dict[int, float] = field(default_factory=dict)  # when who had a job is replaced

    staged = False

    def submit(self, ticket: int, job: Scoring) -> None:
        """Begin with a job."""
        self.sent += len(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))
        begin = self.clock.now
        if ticket in self._died:
            begin = max(begin, self._died.pop(ticket))
        else:
            self._last = begin
        seconds = float(self.rng.gamma(_SHAPE, self.mean / _SHAPE))
        lost = bool(self.rng.random() < self.dying)
        end = begin + seconds * (float(self.rng.random()) if lost else 1.0)
        self.busy.append((begin, end))
        heapq.heappush(self._jobs, _Job(end, ticket, begin, job, lost))

    def wait(self, timeout: float | None = None) -> list[Done[Evaluation]]:
        """Return all jobs that ended by now; if there is none, go on to the next end."""
        if not self._jobs:
            return []
        until = self._jobs[0].end
        if timeout is not None:
            until = min(until, self.clock.now + timeout)
        self.clock.skip_to(until)
        found = []
        with self.clock.stopped():
            now = max(self.clock.now, until)  # sums are rounded
            while self._jobs and self._jobs[0].end <= now:
                found.append(self._done(heapq.heappop(self._jobs)))
        return found

    def _done(self, one: _Job) -> Done[Evaluation]:
        if one.lost:
            self._died[one.ticket] = one.end + _RESTART
            return Done(one.ticket, None, lost="ended by signal 9")
        return Done(one.ticket, self.score(one.job, one.end - one.begin))

    def busy_share(self) -> float | None:
        """Return the share of their time that workers worked; None before they all had begun.

        Counted is from one mean scoring time after the last one began, to the last beginning.
        """
        if len(self.busy) <= self.size:
            return None
        begins, ends = np.array(self.busy).T
        first, last = begins[self.size - 1] + self.mean, self._last
        if last <= first:
            return None
        inside = np.minimum(ends, last) - np.maximum(begins, first)
        return float(np.clip(inside, 0, None).sum() / (self.size * (last - first)))
