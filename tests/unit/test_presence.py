"""Agents of one database: who lives is told by beats and processes, never by wall clocks."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from autoprune.agent.housing.company import Shared
from autoprune.agent.housing.heart import BEAT, Heart
from autoprune.agent.housing.presence import Presence
from autoprune.core import processes
from autoprune.core.heartbeat import HEARTBEAT
from autoprune.core.policy import Policy
from autoprune.core.processes import process_of, runs_here, this_host
from autoprune.core.progress import Progress
from autoprune.errors import ElsewhereError
from autoprune.storage.agents import Agents
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with Database.open(sqlite_url(tmp_path / "shared.db")) as database:
        yield Agents(database)


@contextmanager
def present(agents: Agents, folder: Path, beat: float = BEAT, **more: float) -> Iterator[Presence]:
    """Yield an agent that works in a folder."""
    folder.mkdir(exist_ok=True)
    with Heart(folder, beat) as heart, Presence(agents, None, heart, beat=beat, **more) as own:
        yield own


def test_an_agent_is_there_for_as_long_as_the_block_lasts(agents: Agents, tmp_path: Path) -> None:
    with present(agents, tmp_path) as own:
        assert [one.id for one in agents.all()] == [own.id]
        assert own.living() == {own.id}
        assert own.take(["the only one"])
        assert (tmp_path / HEARTBEAT).exists()
    assert agents.all() == []
    assert not (tmp_path / HEARTBEAT).exists()


def test_a_run_that_somebody_removes_ends_for_those_who_work_on_it(tmp_path: Path) -> None:
    with Database.open(sqlite_url(tmp_path / "shared.db")) as database, Heart(tmp_path) as heart:
        agents, runs = Agents(database), Runs(database)
        run = database.start_run("r", {}, "m", "d")
        with Presence(agents, run, heart, beat=0.05) as own:
            assert own.take(["finish r"]) == {"finish r"}
            runs.remove(run)

            def ended() -> bool:
                Shared(own, database, "r").finish()
                return False

            with pytest.raises(ElsewhereError, match="Somebody removed this run"):
                _until(ended)
            for store in (runs.keep, runs.add_last):
                with pytest.raises(ElsewhereError, match="Somebody removed this run"):
                    store(run, "name", {})
            with pytest.raises(ElsewhereError, match="Somebody removed this run"):
                agents.join(run, "host", "process")
            key = EvaluationKey(**dict.fromkeys(EvaluationKey.__annotations__, "k"))
            one = Evaluation(Policy({}), "failed: by itself", None, None, 0.0, 0.0)
            with pytest.raises(ElsewhereError, match="Somebody removed this run"):
                database.record_evaluation(run, key, one)
            with pytest.raises(ElsewhereError, match="Somebody removed this run"):
                Checkpoints(database, run, "name").add({})


def test_it_beats_and_tells_how_far_it_is(agents: Agents, tmp_path: Path) -> None:
    told: list[Progress] = []
    with present(agents, tmp_path, beat=0.01) as own:
        own.noting(told.append)(Progress(stage="search", done=3, total=9))
        _until(lambda: agents.all()[0].status.get("done") == 3 and agents.all()[0].beat > 1)
        shown = json.loads((tmp_path / HEARTBEAT).read_text())
    assert (shown["process"], shown["status"]["total"]) == (os.getpid(), 9)
    assert [event.done for event in told] == [3]


def test_an_agent_that_was_taken_for_dead_is_there_again(agents: Agents, tmp_path: Path) -> None:
    with present(agents, tmp_path, beat=0.01) as own:
        agents.remove(own.id)
        _until(lambda: [one.id for one in agents.all()] == [own.id])


def test_a_process_of_this_machine_that_is_gone_is_dead_at_once(
    agents: Agents, tmp_path: Path
) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    process = process_of(done.pid)
    done.wait()
    gone = agents.join(None, this_host(), process)
    again = agents.join(None, this_host(), f"{os.getpid()}@1")  # its number is another's now
    assert agents.take(["score it"], gone) == {"score it": gone}
    with present(agents, tmp_path) as own:
        assert own.dead() == {gone, again}
        assert own.take(["score it"]), "a lease of the dead is free"
        assert gone not in {one.id for one in agents.all()}


def test_a_process_that_is_hidden_from_us_may_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted with ``hidepid``, /proc shows nothing of what other users run."""
    began, done = process_of(os.getpid()), subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert process_of(os.getpid()) == f"{os.getpid()}@"
    assert runs_here(this_host(), began) is None
    assert runs_here(this_host(), f"{os.getpid()}@") is True
    assert runs_here(this_host(), f"{done.pid}@1") is False
    assert runs_here("elsewhere", began) is None


def test_an_agent_elsewhere_is_dead_if_it_is_not_seen_to_beat(
    agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("autoprune.agent.housing.presence.time.monotonic", lambda: clock[0])
    other = agents.join(None, "elsewhere", "17@5")
    with present(agents, tmp_path, patience=60) as own:
        assert agents.take(["score it"], other) == {"score it": other}
        assert own.living() == {own.id, other}
        clock[0] += 59
        assert not own.take(["score it"])
        agents.beat(other, {})
        clock[0] += 59
        assert own.living() == {own.id, other}, "it was seen to beat"
        clock[0] += 61
        assert own.dead() == {other}
        assert own.take(["score it"])


def test_a_lease_is_given_once_and_can_be_given_back(agents: Agents, tmp_path: Path) -> None:
    with present(agents, tmp_path) as one, present(agents, tmp_path / "other") as two:
        assert one.take(["a"])
        assert one.take(["a"]), "it has it already"
        assert not two.take(["a"])
        assert two.take(["b"])
        two.give_back(["a"])  # it is not theirs
        assert not two.take(["a"])
        one.give_back(["a"])
        assert two.take(["a"])


def test_of_several_leases_those_that_are_free_are_taken(agents: Agents, tmp_path: Path) -> None:
    with present(agents, tmp_path) as one, present(agents, tmp_path / "other") as two:
        assert one.take(["a", "b"]) == {"a", "b"}
        assert two.take(["a", "c", "d"]) == {"c", "d"}
        assert one.take(["b", "c", "e"]) == {"b", "e"}
        one.give_back(["a", "b", "c"])
        assert two.take(["a", "b", "e"]) == {"a", "b"}


def test_leases_that_another_takes_at_the_same_moment_are_not_ours(
    agents: Agents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders, looks = Agents._holders, list[int]()

    def late(self: Agents, leases: Sequence[str]) -> dict[str, str]:
        looks.append(1)
        found = holders(self, leases)
        if len(looks) == 1:  # between our look and our hand
            agents.take(["b"], two.id)
        return found

    with present(agents, tmp_path) as one, present(agents, tmp_path / "other") as two:
        monkeypatch.setattr(Agents, "_holders", late)
        assert one.take(["a", "b"]) == {"a"}


def test_leases_are_taken_in_one_order_so_that_no_two_agents_wait_for_each_other(
    agents: Agents, tmp_path: Path
) -> None:
    taken: list[str] = []

    def note(_: Any, __: Any, statement: str, given: Any, *___: Any) -> None:
        if statement.startswith("INSERT INTO ap_lease"):
            rows = given if isinstance(given, list) else [given]
            taken.extend(one for row in rows for one in row if one in "abc")

    with present(agents, tmp_path) as one:
        engine = agents._database._engine
        sqlalchemy.event.listen(engine, "before_cursor_execute", note)
        assert one.take(["b", "c", "a"]) == {"a", "b", "c"}
    assert taken == ["a", "b", "c"]


def _until(true: object, seconds: float = 20.0) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
