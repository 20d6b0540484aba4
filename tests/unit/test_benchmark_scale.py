"""The benchmark of many workers: its clock, its workers, and what its facts come to."""

from typing import Any

import numpy as np
import pytest

from autoprune.agent.evaluating.scoring import Scoring
from autoprune.core.policy import Policy
from autoprune.core.workers import Crew, WorkersLostError
from autoprune.storage.records import Evaluation
from benchmarks.scale.asking import ask
from benchmarks.scale.doubled import rate
from benchmarks.scale.figures import figures
from benchmarks.scale.simulate import simulate
from benchmarks.scale.workers import VirtualClock, VirtualWorkers

NOTHING = Scoring(Policy({}))


def scored(job: Scoring, seconds: float) -> Evaluation:
    return Evaluation(job.policy, "scored", seconds, 0.5, 1.0, seconds)


def workers(size: int, dying: float = 0.0) -> tuple[VirtualWorkers, list[float]]:
    work = [0.0]
    clock = VirtualClock(lambda: work[0])
    rng = np.random.default_rng(0)
    return VirtualWorkers(size, scored, clock, rng, mean=30.0, dying=dying), work


def test_time_passes_by_work_and_by_waiting() -> None:
    work = [5.0]
    clock = VirtualClock(lambda: work[0])
    assert clock.now == 0.0
    work[0] = 7.0
    assert (clock.now, clock.worked) == (2.0, 2.0)
    clock.skip_to(10.0)
    clock.skip_to(9.0)  # it is past
    with clock.stopped():
        work[0] = 50.0
    assert (clock.now, clock.worked) == (10.0, 2.0)


def test_a_driver_that_takes_no_time_keeps_all_busy() -> None:
    crew, _ = workers(20)
    assert crew.busy_share() is None
    for ticket in range(20):
        crew.submit(ticket, NOTHING)
    assert crew.wait(0.001) == []
    ended = 0
    for ticket in range(20, 400):
        if not (free := 20 - len(crew._jobs)):
            ended += len(crew.wait())
            free = 20 - len(crew._jobs)
        assert free
        crew.submit(ticket, NOTHING)
    assert crew.busy_share() == pytest.approx(1.0)
    assert np.mean([end - begin for begin, end in crew.busy]) == pytest.approx(30.0, rel=0.1)


def test_a_driver_that_works_as_long_as_they_do_keeps_them_half_busy() -> None:
    crew, work = workers(1)
    for ticket in range(300):
        crew.submit(ticket, NOTHING)
        crew.wait()
        work[0] += 30.0
    assert crew.busy_share() == pytest.approx(0.5, abs=0.03)


def test_the_dying_are_lost_and_replaced_later() -> None:
    crew, _ = workers(1, dying=1.0)
    found = Crew(crew)
    found.give(0, NOTHING)
    ended: list[Any] = []
    while found.busy:
        ended += found.done()
    assert isinstance(ended[0][1], WorkersLostError)
    gaps = [begin - end for (_, end), (begin, _) in zip(crew.busy, crew.busy[1:], strict=False)]
    assert gaps == pytest.approx([5.0, 5.0])


def test_a_simulated_search_is_told_part_by_part() -> None:
    facts: dict[str, Any] = {}
    simulate(lambda **new: facts.update(new), workers=8, trials=24, every=8, units=3, dying=0.05)
    assert facts["done"][-1] >= 16
    assert 0 < facts["busy_share"] <= 1
    assert all(0 < part for name in ("ask", "tell", "store") for part in facts[f"{name}_ms"][:1])
    assert facts["driver_ms"][0] > facts["ask_ms"][0]
    assert facts["best"] == sorted(facts["best"], reverse=True)
    assert figures({"sim": {"sqlite": facts}})["sim1000_busy_share"] == facts["busy_share"]


def test_asking_is_measured_alone_and_together() -> None:
    facts: dict[str, Any] = {}
    ask(lambda **new: facts.update(new), size=30, times=3, pending=10, batch=4, units=4)
    for name in ("first_ms", "alone_ms", "batch_ms", "own_mb", "rss_mb"):
        assert facts[name] > 0, name
    found = figures({"ask": {"budgeted": facts}})
    assert found["ask_ms_at_10k"] == facts["alone_processor_ms"]
    assert found["driver_mb"] == facts["own_mb"]


def test_rates_leave_out_the_beginning_and_the_end() -> None:
    times = [(0.0, 0), (50.0, 3), (51.0, 4), (53.0, 6), (55.0, 8), (90.0, 9)]
    assert rate(times) == pytest.approx(1.0)


def test_figures_are_medians_and_missing_ones_say_so() -> None:
    pairs = {"one": [1.0, 2.0, 1.0], "two": [1.9, 3.0, 1.8], "apart": [1.7, 3.9, 1.9]}
    found = figures({"doubled": {"local": pairs, "ray": {"failure": "no network"}}})
    assert found["local_2x"] == pytest.approx(1.8)
    assert found["local_2x_apart"] == pytest.approx(1.9)
    assert found["ray_2x"] is None
    assert figures({})["sim1000_busy_share"] is None
