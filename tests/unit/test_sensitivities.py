"""Probes in the database: kept exactly, by model, data and way, the first writer's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from autoprune.core.policy import Choice, Policy
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.sensitivities import Sensitivities, StoredProbe

POLICY = Policy({"u": Choice("channel.l1", 0.5)})
PROBE = StoredProbe(
    loss=0.1 + 0.2,
    quality=0.5,
    stderr=1e-9,
    samples=64,
    reason=None,
    sample_forwards=96.5,
    seconds=0.1,
)
FAILED = replace(PROBE, loss=None, quality=None, reason="ValueError: too thin.")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(sqlite_url(tmp_path / "shared.db")) as opened:
        yield opened


def test_probes_come_back_exactly_failed_ones_too(database: Database) -> None:
    stored = Sensitivities(database, "m", "d", "p")
    stored.add(POLICY, PROBE)
    stored.add(Policy({}), FAILED)
    assert Sensitivities(database, "m", "d", "p").known() == {
        POLICY.fingerprint: PROBE,
        Policy({}).fingerprint: FAILED,
    }


@pytest.mark.parametrize("key", [("x", "d", "p"), ("m", "x", "p"), ("m", "d", "x")])
def test_models_data_and_ways_are_kept_apart(
    database: Database, key: tuple[str, str, str]
) -> None:
    Sensitivities(database, "m", "d", "p").add(POLICY, PROBE)
    other = Sensitivities(database, *key)
    assert other.known() == {}
    other.add(POLICY, FAILED)
    assert Sensitivities(database, "m", "d", "p").known() == {POLICY.fingerprint: PROBE}


def test_of_many_writers_the_first_ones_probe_stays(database: Database) -> None:
    stored = Sensitivities(database, "m", "d", "p")
    stored.add(POLICY, PROBE)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stored.add(POLICY, FAILED), range(8)))
    assert stored.known() == {POLICY.fingerprint: PROBE}
