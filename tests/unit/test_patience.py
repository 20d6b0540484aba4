"""A server that is away is waited for, but not again and again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.orm import Session

from autoprune.core.target import Target
from autoprune.errors import InfrastructureError, RunExistsError
from autoprune.storage.agents import Agents
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.database import Database
from autoprune.storage.engine import parse_url, sqlite_url
from autoprune.storage.latencies import Latencies, devices, measured_targets
from autoprune.storage.patience import Connect
from autoprune.storage.records import Latency
from autoprune.storage.runs import Runs


def test_a_server_that_stayed_away_is_not_waited_for_again_until_it_was_met() -> None:
    away, tries = [False], []

    def connection(*_: Any, **__: Any) -> str:
        tries.append(away[0])
        if away[0]:
            raise psycopg.OperationalError("connection refused")
        return "connection"

    connect = Connect(parse_url("postgresql+psycopg://me@nowhere/db"), patience=0.15)
    connect._connect = connection
    assert connect() == "connection"
    away[0] = True
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert sum(tries) > 1, "it was waited for"
    tries.clear()
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert len(tries) == 1
    away[0] = False
    assert connect() == "connection"
    away[0] = True
    tries.clear()
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert len(tries) > 1


class Leaving(Database):
    """A database whose server leaves in the middle of the first transaction after it was told."""

    leaves = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            yield session
            self._leave()

    def _leave(self) -> None:
        if self.leaves:
            self.leaves = False
            cause = psycopg.OperationalError("server closed the connection unexpectedly")
            raise InfrastructureError("The server cannot be reached.") from cause


class LeavingLate(Leaving):
    """A database whose server leaves when all was stored, before it says so."""

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with Database.transaction(self) as session:
            yield session
        self._leave()


def latencies(database: Database) -> Latencies:
    return Latencies(database, {"cpu": "AMD EPYC"}, Target("pytorch"))


ONE = Latency(0.2, 0.1, 0.3)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda db: latencies(db).measured("conv"), {(1, 2): ONE}),
        (lambda db: latencies(db).known("conv"), {(1, 2): ONE.seconds}),
        (lambda db: latencies(db).add("linear", (1,), ONE), None),
        (lambda db: latencies(db).forget(), 1),
        (lambda db: list(devices(db).values()), [{"cpu": "AMD EPYC"}]),
        (lambda db: list(measured_targets(db).values()), [1]),
        (lambda db: list(Checkpoints(db, 1, "run").latest()), [{"seconds": 2.0}]),
        (lambda db: Checkpoints.spent(db, 1, "seconds"), 2.0),
    ],
)
def test_what_was_cut_short_is_done_again(
    tmp_path: Path, call: Callable[[Database], Any], expected: Any
) -> None:
    with Leaving.open(sqlite_url(tmp_path / "study.db")) as database:
        run = database.start_run("run", {}, "model", "data")
        latencies(database).add("conv", (1, 2), ONE)
        Checkpoints(database, run, "run").add({"seconds": 2.0})
        database.leaves = True
        assert call(database) == expected
        assert not database.leaves


@pytest.mark.parametrize("kind", [Leaving, LeavingLate])
def test_who_joins_or_begins_a_run_is_stored_once(tmp_path: Path, kind: type[Leaving]) -> None:
    with kind.open(sqlite_url(tmp_path / "study.db")) as database:
        database.leaves = True
        run = database.start_run("run", {"seed": 0}, "model", "data")
        assert not database.leaves
        assert [one.id for one in Runs(database).all()] == [run]
        with pytest.raises(RunExistsError):
            database.start_run("run", {"seed": 0}, "model", "data")

        agents = Agents(database)
        database.leaves = True
        joined = agents.join(run, "host", "4711 begun")
        assert not database.leaves
        assert [one.id for one in agents.all()] == [joined]
