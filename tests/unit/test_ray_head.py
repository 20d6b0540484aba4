"""The head of a Ray cluster: waited for while it may come back, and then told to be gone."""

import socket
from dataclasses import dataclass

import pytest

from autoprune.errors import InfrastructureError

pytest.importorskip("ray")
from autoprune.execution.workers import head
from autoprune.execution.workers.head import Head


@dataclass
class Time:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_head_that_answers_costs_no_time() -> None:
    time = Time()
    one = Head(lambda: True, clock=time, sleep=time.sleep)
    one.need()
    assert (time.now, one.gone) == (0.0, False)


def test_a_head_that_comes_back_is_waited_for() -> None:
    time = Time()
    one = Head(lambda: time.now > 10, clock=time, sleep=time.sleep)
    one.need()
    assert not one.gone
    assert 10 < time.now < 12


def test_a_head_that_stays_away_is_gone_before_ray_ends_the_process() -> None:
    time = Time()
    one = Head(lambda: False, clock=time, sleep=time.sleep)
    with pytest.raises(InfrastructureError, match=r"not answered for 15 s.*resume"):
        one.need()
    assert one.gone
    assert time.now < 30


def test_without_our_node_nothing_is_waited_for() -> None:
    time = Time()
    one = Head(lambda: True, lambda: False, time, time.sleep)
    with pytest.raises(InfrastructureError, match=r"raylet, has ended.*--if-exists resume"):
        one.need()
    assert (time.now, one.gone) == (0.0, True)


def test_a_head_is_looked_for_while_nothing_happens() -> None:
    time = Time()
    looks: list[float] = []

    def answers() -> bool:
        looks.append(time.now)
        return time.now < 100

    def look(seconds: float) -> list[str]:
        time.now += seconds
        return ["done"] if 12 < time.now < 100 else []

    one = Head(answers, clock=time, sleep=time.sleep)
    assert one.watched(look, None) == ["done"]
    assert looks == [5.0, 10.0]
    time.now = 0.0
    assert one.watched(look, 7.0) == []
    assert time.now == 7.0
    time.now = 200.0
    with pytest.raises(InfrastructureError):
        one.watched(look, None)


def test_a_head_is_looked_for_however_short_the_looks_are() -> None:
    time = Time()
    one = Head(lambda: time.now < 20, clock=time, sleep=time.sleep)

    def look(seconds: float) -> list[str]:
        time.now += seconds
        return []

    for _ in range(19):
        one.watched(look, 1.0)
    assert not one.gone
    with pytest.raises(InfrastructureError):
        one.watched(look, 1.0)
    assert time.now < 50


def test_whether_somebody_listens_is_seen_by_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert head._listens("127.0.0.1", port)
    assert not head._listens("127.0.0.1", port)
