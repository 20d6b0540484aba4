"""Timing on a clock that only sessions move, so that every number is known."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from statistics import median

import numpy as np
import pytest
import torch

from autoprune.cost.latency.observations import BUSY_SPREAD, Comparison, Timing, summary
from autoprune.cost.latency.timing import BUSY_PATIENCE, compare, measure


class World:
    """A clock, and the sessions that move it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def clock(self) -> float:
        return self.now

    def session(self, seconds: Callable[[float], float] | float, name: str = "") -> "Fake":
        return Fake(self, seconds if callable(seconds) else lambda _: seconds, name)


class Fake:
    """A session whose forward takes what a function of the time says."""

    def __init__(self, world: World, seconds: Callable[[float], float], name: str) -> None:
        self.world, self.seconds, self.name, self.runs = world, seconds, name, 0

    def run(self) -> None:
        self.runs += 1
        self.world.order.append(self.name)
        self.world.now += self.seconds(self.world.now)

    def outputs(self) -> list[torch.Tensor]:
        return []


@pytest.fixture
def world() -> World:
    return World()


def jitter(size: float, seed: int = 0) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    return (1 + size * (rng.random() - 0.5) for _ in count())


def test_a_steady_session_is_timed_exactly_and_soon(world: World) -> None:
    session = world.session(0.01)
    timing = measure(session, clock=world.clock)
    assert timing.seconds == pytest.approx(0.01)
    assert timing.low == pytest.approx(0.01)
    assert timing.high == pytest.approx(0.01)
    assert timing.repeats == 12
    assert not timing.busy
    assert session.runs == 5 + 12  # 50 ms of warming up


def test_what_is_slow_at_first_does_not_count(world: World) -> None:
    slow_start = world.session(lambda now: 0.5 if now < 1.0 else 0.01)
    timing = measure(slow_start, clock=world.clock)
    assert timing.seconds == pytest.approx(0.01)
    assert timing.high == pytest.approx(0.01)
    assert slow_start.runs >= 3 + 12


def test_long_forwards_stop_at_the_limit_with_a_wide_interval(world: World) -> None:
    noise = jitter(0.2)
    session = world.session(lambda _: next(noise))
    timing = measure(session, limit_s=9.0, precision=1e-6, clock=world.clock)
    assert timing.repeats == 12  # blocks of four; the third one passed the limit
    assert timing.low < timing.seconds < timing.high


def test_noise_is_repeated_until_the_interval_is_narrow_enough(world: World) -> None:
    noise = jitter(0.2)
    session = world.session(lambda _: 0.01 * next(noise))
    timing = measure(session, precision=0.005, limit_s=60, clock=world.clock)
    assert (timing.high - timing.low) / 2 <= 0.005 * timing.seconds
    assert timing.low < 0.01 < timing.high
    assert 1000 < timing.repeats < 3000  # in theory 1537
    assert not timing.busy
    assert timing.spread == pytest.approx(0.1, abs=0.03)


def test_short_forwards_are_timed_several_at_a_time(world: World) -> None:
    session = world.session(1e-5)
    timing = measure(session, clock=world.clock)
    assert timing.seconds == pytest.approx(1e-5)
    warm = 5000  # 50 ms
    assert (session.runs - warm) / timing.repeats == pytest.approx(20, abs=2)


def test_a_clock_that_stands_still_ends(world: World) -> None:
    timing = measure(world.session(0.0), clock=world.clock)
    assert 0 < timing.low <= timing.seconds <= timing.high < 1e-9


def test_a_busy_machine_is_waited_for_and_told(world: World) -> None:
    noise = jitter(2 * 0.9)
    session = world.session(lambda _: 0.01 * next(noise))
    timing = measure(session, limit_s=1.0, precision=0.2, clock=world.clock)
    assert timing.busy
    assert timing.spread > BUSY_SPREAD
    assert world.now >= BUSY_PATIENCE * 1.0
    assert timing.high - timing.low >= timing.spread * timing.seconds  # over both quartiles


def test_a_burst_at_the_start_is_waited_out(world: World) -> None:
    session = world.session(lambda now: 0.03 if 0.1 < now < 0.4 and now % 0.1 < 0.05 else 0.01)
    timing = measure(session, limit_s=10.0, clock=world.clock)
    assert not timing.busy
    assert timing.seconds == pytest.approx(0.01)
    assert timing.repeats > 12


def test_pairs_stand_a_drift_that_single_timings_do_not(world: World) -> None:
    """The machine gets slower by half in ten seconds; the ratio is 0.9 throughout."""

    def slowed(seconds: float) -> Callable[[float], float]:
        return lambda now: seconds * (1 + 0.05 * now)

    found = compare(
        world.session(slowed(0.02)),
        world.session(slowed(0.018)),
        precision=0.0,
        limit_s=10,
        clock=world.clock,
    )
    assert found.ratio == pytest.approx(0.9, abs=1e-3)
    assert found.low == pytest.approx(0.9, abs=2e-3)
    assert found.high == pytest.approx(0.9, abs=2e-3)
    assert not found.busy
    assert found.dense.busy  # alone it looks busy
    assert found.pruned_s / found.dense_s == pytest.approx(0.9, abs=0.02)


def test_pairs_alternate_who_comes_first(world: World) -> None:
    found = compare(
        world.session(1.0, "d"), world.session(0.5, "p"), limit_s=60, clock=world.clock
    )
    assert found.ratio == 0.5
    assert (found.dense_s, found.pruned_s) == (1.0, 0.5)
    assert found.pairs == 12
    assert "".join(world.order) == "ddd" + "ppp" + "dppd" * 6


def test_a_busy_machine_is_told_by_the_ratios(world: World) -> None:
    noise = jitter(1.5)
    found = compare(
        world.session(0.01),
        world.session(lambda _: 0.01 * next(noise)),
        limit_s=1.0,
        clock=world.clock,
    )
    assert found.busy
    assert found.low < 0.8
    assert found.high > 1.2
    assert world.now >= BUSY_PATIENCE * 1.0


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.0], 1.0, 1.0),
        ([1.0, 1.01, 1.02, 1.03, 1.04], 1.0, 1.04),
        ([1.0 + i / 100 for i in range(6)], 1.0, 1.05),
        ([1.0 + i / 1000 for i in range(10)], 1.001, 1.008),  # ranks 2 and 9
        ([1.0 + i / 10000 for i in range(100)], 1.0039, 1.006),  # ranks 40 and 61
    ],
)
def test_the_interval_is_that_of_the_tables(
    values: Sequence[float], low: float, high: float
) -> None:
    found = summary(list(reversed(values)))
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.median == pytest.approx(median(values))
    assert not found.busy


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [summary(list(rng.lognormal(0, 0.05, 25))) for _ in range(2000)]
    share = np.mean([one.low <= 1 <= one.high for one in found])
    assert 0.95 <= share <= 0.985


def test_timings_of_pairs_and_of_one_are_the_same_thing() -> None:
    times = [1.0, 1.1, 1.05, 1.0, 1.1, 1.08]
    found = Comparison.of(times, [0.5 * time for time in times])
    assert found.dense == Timing.of(times)
    assert (found.ratio, found.low, found.high, found.spread) == (0.5, 0.5, 0.5, 0.0)
    assert found.pairs == 6
