"""Times forwards until their median is known well enough, alone or in pairs."""

from collections.abc import Callable, Iterator
from math import ceil
from time import perf_counter

from autoprune.cost.latency.observations import Comparison, Timing, summary
from autoprune.cost.latency.runtimes.base import Session

Clock = Callable[[], float]
BUSY_PATIENCE = 3  # times the limit that a busy machine is waited for
WARM_S = 0.05
_WARM_RUNS = 3
_MOST_WARM_RUNS = 10_000  # a clock that stands still ends too
_SHORT_S = 200e-6  # below it the clock itself and the call would count
_MOST_AT_ONCE = 1000
_BLOCK = 4  # even, so that pairs come in both orders alike
_FEWEST = 12


def measure(
    session: Session,
    *,
    precision: float = 0.03,
    limit_s: float = 3.0,
    warm_s: float = WARM_S,
    clock: Clock = perf_counter,
) -> Timing:
    """Return the latency of one session.

    Args:
        session: What is run.
        precision: Share of the median that half its interval may be wide.
        limit_s: Seconds after which it stops all the same, but for a block of repeats; a busy
            machine gets `BUSY_PATIENCE` times as many.
        warm_s: Seconds of runs that do not count, before.
        clock: Seconds of a clock that only goes forwards.
    """
    stopwatch = _Stopwatch(session, clock, warm_s)
    times: list[float] = []
    for size in _blocks(times, precision, limit_s, clock):
        times += [stopwatch.time() for _ in range(size)]
    return Timing.of(times)


def compare(
    dense: Session,
    pruned: Session,
    *,
    precision: float = 0.02,
    limit_s: float = 10.0,
    clock: Clock = perf_counter,
) -> Comparison:
    """Return how two sessions compare, run in pairs: first the one first, then the other.

    What changes slowly (heat, clock rates, other work) slows both of a pair alike and leaves
    their ratio as it is; what follows a forward of the other kind meets both in turn.

    Args:
        dense: The session of the dense model.
        pruned: The session of the pruned one, for the same target.
        precision: Share of the median ratio that half its interval may be wide.
        limit_s: As for `measure`.
        clock: As for `measure`.
    """
    pair = _Stopwatch(dense, clock), _Stopwatch(pruned, clock)
    times: tuple[list[float], list[float]] = ([], [])
    ratios: list[float] = []
    for size in _blocks(ratios, precision, limit_s, clock):
        for _ in range(size):
            for i in (0, 1) if len(ratios) % 2 == 0 else (1, 0):
                times[i].append(pair[i].time())
            ratios.append(times[1][-1] / times[0][-1])
    return Comparison.of(*times)


class _Stopwatch:
    """Times a session that it has warmed up, several forwards at once where they are short."""

    def __init__(self, session: Session, clock: Clock, warm_s: float = WARM_S) -> None:
        self._session, self._clock, self._warm_s = session, clock, warm_s
        self._at_once = min(max(ceil(_SHORT_S / self._warm_up()), 1), _MOST_AT_ONCE)

    def _warm_up(self) -> float:
        """Run until caches, clock rates and the runtime's own choices settle; return seconds."""
        start = now = self._clock()
        quickest = float("inf")
        for run in range(_MOST_WARM_RUNS):
            if run >= _WARM_RUNS and now - start >= self._warm_s:
                break
            before = now
            self._session.run()
            now = self._clock()
            quickest = min(quickest, now - before)
        return max(quickest, 1e-9)

    def time(self) -> float:
        """Return the seconds of one forward, of which at least one was run."""
        run, count = self._session.run, self._at_once
        start = self._clock()
        for _ in range(count):
            run()
        return max(self._clock() - start, 1e-9) / count


def _blocks(values: list[float], precision: float, limit_s: float, clock: Clock) -> Iterator[int]:
    """Yield how many values to add, until they say enough or their time is over."""
    start = clock()
    while True:
        yield max(_BLOCK, len(values) // 8 * 2)  # looking at them takes time as well
        found, now = summary(values), clock() - start
        settled = found.precision <= precision and len(values) >= _FEWEST
        if now >= limit_s * (BUSY_PATIENCE if found.busy else 1) or (settled and not found.busy):
            return
