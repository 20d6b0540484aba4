"""Latencies in the database: kept exactly, by device and target, whoever writes first."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from autoprune.core.fingerprint import fingerprint
from autoprune.core.target import Target
from autoprune.errors import CandidateError, OutputError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.latencies import Latencies, devices, measured_targets
from autoprune.storage.records import Latency

FACTS = {"cpu": "AMD EPYC", "torch": "2.9.0"}
TARGET = Target("onnxruntime", threads=1)
ONE = Latency(0.1 + 0.2, 0.25, 0.35)
CONV = "conv2d k=3 s=1"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(sqlite_url(tmp_path / "study.db")) as opened:
        yield opened


@pytest.fixture
def latencies(database: Database) -> Latencies:
    return Latencies(database, FACTS, TARGET)


def test_a_latency_comes_back_exactly(database: Database, latencies: Latencies) -> None:
    latencies.add(CONV, (64, 128), ONE)
    latencies.add(CONV, np.array([1, 2, 3]).tolist(), Latency(1e-9, 1e-10, 1e-8))
    again = Latencies(database, dict(reversed(FACTS.items())), Target.parse(str(TARGET)))
    assert again.known(CONV) == {(64, 128): 0.1 + 0.2, (1, 2, 3): 1e-9}
    assert again.measured(CONV)[64, 128] == ONE
    assert again.known("linear") == {}


def test_devices_targets_and_layers_are_kept_apart(
    database: Database, latencies: Latencies
) -> None:
    latencies.add(CONV, (1,), ONE)
    others = [
        Latencies(database, FACTS | {"torch": "2.9.1"}, TARGET),
        Latencies(database, FACTS, Target("onnxruntime")),
    ]
    for number, other in enumerate(others, start=2):
        assert other.known(CONV) == {}
        other.add(CONV, (1,), Latency(number, number, number))
    assert latencies.known(CONV) == {(1,): ONE.seconds}
    assert [other.known(CONV) for other in others] == [{(1,): 2.0}, {(1,): 3.0}]
    assert latencies.forget() == 1
    assert latencies.known(CONV) == {}
    assert others[0].known(CONV) == {(1,): 2.0}


def test_what_is_stored_can_be_listed(database: Database, latencies: Latencies) -> None:
    assert devices(database) == {}
    other = Latencies(database, {"cpu": "another"}, TARGET)
    latencies.add(CONV, (1, 2), ONE)
    latencies.add(CONV, (2, 2), ONE)
    other.add(CONV, (1, 2), ONE)
    assert latencies.device_fp == fingerprint(FACTS)
    assert devices(database) == {latencies.device_fp: FACTS, other.device_fp: {"cpu": "another"}}
    assert measured_targets(database) == {
        (latencies.device_fp, str(TARGET)): 2,
        (other.device_fp, str(TARGET)): 1,
    }


@pytest.mark.parametrize("narrow_first", [True, False])
def test_the_narrower_interval_stays(latencies: Latencies, narrow_first: bool) -> None:
    narrow, wide = Latency(1.0, 0.9, 1.1), Latency(2.0, 1.0, 3.0)
    for latency in (narrow, wide) if narrow_first else (wide, narrow):
        latencies.add(CONV, (4, 8), latency)
    assert latencies.measured(CONV) == {(4, 8): narrow}


def test_many_writers_of_one_layer_agree(database: Database) -> None:
    def add(number: int) -> None:
        width = 1 + (number * 7) % 16
        latency = Latency(100 + width, 100, 100 + 2 * width)
        Latencies(database, FACTS, TARGET).add(CONV, (8, 8), latency)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(32)))
    assert Latencies(database, FACTS, TARGET).known(CONV) == {(8, 8): 101.0}
    assert len(devices(database)) == 1


@pytest.mark.parametrize(
    "values",
    [(0.0, 0.0, 1.0), (1.0, 2.0, 3.0), (3.0, 1.0, 2.0), (1.0, 0.5, float("inf"))]
    + [tuple(float("nan") if i == j else 1.0 for i in range(3)) for j in range(3)],
)
def test_numbers_that_are_no_latency_are_refused(values: Any) -> None:
    with pytest.raises(CandidateError, match="above 0 seconds"):
        Latency(*values)


@pytest.mark.parametrize("sizes", [(-1,), (1.0,), ("1",)])
def test_sizes_that_are_no_whole_numbers_are_refused(latencies: Latencies, sizes: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        latencies.add(CONV, sizes, ONE)
    assert latencies.known(CONV) == {}


def test_an_altered_row_is_refused_when_it_is_read(
    database: Database, latencies: Latencies
) -> None:
    latencies.add(CONV, (1,), ONE)
    with database.transaction() as session:
        session.execute(text("UPDATE ap_latency SET seconds = -1"))
    with pytest.raises(OutputError, match="A latency needs a median above 0"):
        latencies.known(CONV)
