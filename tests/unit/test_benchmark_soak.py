"""The books of the soak: slopes, what is counted, what a cut run keeps."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest

from benchmarks.isolated import Note
from benchmarks.soak import sequence
from benchmarks.soak.__main__ import tasks
from benchmarks.soak.facts import facts_of
from benchmarks.soak.figures import figures
from benchmarks.soak.record import Record
from benchmarks.soak.run import soak
from benchmarks.soak.sampled import entries, family, held
from benchmarks.soak.slopes import slope
from benchmarks.store import Store
from benchmarks.work import Task, run_all


def test_a_slope_is_that_of_most_pairs_whatever_a_few_points_say() -> None:
    hours = [at / 100 for at in range(400)]
    noise = Random(0)
    values = [3 * at + noise.gauss(0, 0.5) for at in hours]
    values[50:60] = [100.0] * 10
    found = slope(hours, values)
    assert found is not None
    assert found.low < 3 < found.high
    assert 2.8 < found.low
    assert found.high < 3.2


def test_what_does_not_grow_has_no_slope_and_noise_has_an_interval_around_none() -> None:
    hours = [at / 100 for at in range(400)]
    assert slope(hours, [7.0] * 400) == (0, 0, 0)
    noise = Random(1)
    found = slope(hours, [noise.gauss(100, 5) for _ in hours])
    assert found is not None
    assert found.low < 0 < found.high


@pytest.mark.parametrize("places", [[1.0, 2.0, 3.0], [1.0] * 50])
def test_too_few_points_have_no_slope(places: list[float]) -> None:
    assert slope(places, [1.0] * len(places)) is None


_OPENS = """
import socket, tempfile
def tell_and_wait():
    print(flush=True)
    input()
tell_and_wait()
with tempfile.TemporaryFile(), socket.socket(), socket.socket():
    kept = bytearray(b"x") * (64 * 2**20)
    tell_and_wait()
    del kept
tell_and_wait()
"""


def test_what_a_process_opens_is_counted() -> None:
    """It is a process of its own: what this one holds depends on the tests before."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", _OPENS], **pipes) as process:

        def count() -> dict[str, float]:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "\n"
            found = held([process.pid])
            assert found is not None
            twice = held([process.pid, process.pid])
            assert twice is not None
            assert twice["files"] == 2 * found["files"]
            process.stdin.write("\n")
            process.stdin.flush()
            return found

        before, opened, closed = count(), count(), count()
    assert opened["files"] == before["files"] + 1
    assert opened["sockets"] == before["sockets"] + 2
    assert opened["mb"] == pytest.approx(before["mb"] + 64, abs=8)
    assert closed["mb"] == pytest.approx(before["mb"], abs=8)
    assert (closed["files"], closed["sockets"]) == (before["files"], before["sockets"])


def test_nobody_holds_nothing(tmp_path: Path) -> None:
    assert held([]) is None
    assert held([2**22 + 1]) is None
    assert family(None) == []
    assert os.getpid() in family(os.getpid())
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").touch()
    assert len(entries(tmp_path)) == 2


def sample(at: float, grown: float, life: str = "a", **other: Any) -> dict[str, Any]:
    one = {"mb": 100 + grown, "files": 10, "sockets": 3 + at / 360, "threads": 2}
    here = {"driver": one, "worker": {**one, "mb": 50}, "server": None, "eldest": 7}
    stored = {"connections": 2, "database_mb": at / 100, "wal_mb": 16}
    return {
        "life": life,
        "search": life,
        "at": at,
        "evaluations": int(at),
        **here,
        **stored,
        **other,
    }


@pytest.fixture
def record(tmp_path: Path) -> Record:
    made = Record(tmp_path)
    for at in range(100, 3700, 10):  # at first it grows fast
        made.add("sample", **sample(at, min(at, 1900) / 10 + at / 360))
    return made


def test_slopes_are_those_of_the_second_half(record: Record) -> None:
    facts = facts_of(record)
    assert facts["minutes"] == pytest.approx(59.8, abs=0.1)
    slopes = facts["slopes"]
    assert slopes["driver.mb"]["per_unit"] == pytest.approx(10, abs=0.1)
    assert slopes["driver.mb_per_1000"]["per_unit"] == pytest.approx(10 / 3.6, abs=0.1)
    assert slopes["driver.sockets"]["per_unit"] == pytest.approx(10, abs=0.1)
    assert slopes["worker.mb"]["per_unit"] == 0
    assert slopes["server.mb"] is None
    assert facts["database_kb_per_evaluation"] == pytest.approx(10.24)
    assert facts["per_minute"] == [60, 60]


def test_samples_of_a_server_that_is_away_and_of_other_workers_do_not_count(
    record: Record,
) -> None:
    for at in range(3700, 4000, 10):
        away = sample(at, 200, eldest=8)
        away["worker"]["mb"] = 90
        record.add(
            "sample", **{k: v for k, v in away.items() if k not in ("wal_mb", "database_mb")}
        )
    slopes = facts_of(record)["slopes"]
    assert slopes["worker.mb"] == {"per_unit": 0, "low": 0, "high": 0}


def test_what_happens_after_the_last_evaluation_does_not_count(record: Record) -> None:
    before = facts_of(record)["slopes"]
    for at in range(3700, 4600, 10):
        record.add("sample", **{**sample(at, 900), "evaluations": 3690})
    assert facts_of(record)["slopes"] == before


def test_the_longest_life_tells_the_slopes_and_all_lives_the_minutes(record: Record) -> None:
    before = facts_of(record)
    for at in (10, 70):
        record.add("sample", **sample(at, 0, "b"))
    after = facts_of(record)
    assert (before["lives"], after["lives"]) == (1, 2)
    assert after["slopes"] == before["slopes"]
    assert after["minutes"] == pytest.approx(before["minutes"] + 1, abs=0.11)


def test_searches_and_faults_are_added_up(tmp_path: Path) -> None:
    record = Record(tmp_path)
    sound = {"evaluations": 8, "lost": 0, "done_twice": 0, "left_running": 0}
    record.add("job", kind="driver", kills=2, searches=2, **sound)
    record.add("job", kind="clock", jumps=9, searches=1, **sound, code=0)
    record.add("job", kind="disk", searches=1, **{**sound, "lost": 1}, code=2)
    record.add("job", kind="ray", failure="Failed: no")
    record.add("fault", kind="long.worker")
    record.add("fault", kind="long.worker")
    record.add("ended", code=4, said="away")
    record.add("ended", code=0, said="")
    left = {"connections": 1, "temporary": 0, "shared_memory": 0}
    record.add("over", **{**sound, "evaluations": 900}, **left, search="a")
    found = figures({"soak": {"run": facts_of(record)}})
    assert (found["searches"], found["evaluations"], found["lost"]) == (5, 924, 1)
    assert found["faults"] == {"clock": 9, "disk": 1, "driver": 2, "long.worker": 2, "ray": 1}
    assert (found["connections_left"], found["temporary_files_left"]) == (1, 0)
    assert found["failed"] == ["ray: Failed: no", "long: exit code 4"]
    assert found["ended_well"] == pytest.approx(5 / 7)


def test_evaluations_of_a_search_that_was_cut_count_as_far_as_they_were_sampled(
    tmp_path: Path,
) -> None:
    record = Record(tmp_path)
    for at in (10, 70):
        record.add("sample", **sample(at, 0, "a"))
    assert facts_of(record)["evaluations"] == 70
    record.add("sample", **sample(30, 0, "b"))
    assert facts_of(record)["evaluations"] == 100
    record.add("over", search="b", evaluations=33)
    found = facts_of(record)
    assert (found["evaluations"], found["searches"]) == (103, 1)


def test_nothing_measured_gives_no_figure(tmp_path: Path) -> None:
    for facts in ({}, {"failure": "OSError: no"}):
        found = figures({"soak": {"run": facts}})
        names = ("minutes", "lost", "driver_slope_mb_per_hour", "ended_well", "connections_left")
        assert [found[name] for name in names] == [None] * 5
    assert facts_of(Record(tmp_path))["slopes"]["driver.mb"] is None


def test_a_record_outlives_a_cut(tmp_path: Path) -> None:
    record = Record(tmp_path / "deep")
    record.add("fault", kind="long.agent")
    with (tmp_path / "deep" / "record.jsonl").open("a") as file:
        file.write('{"what": "sam')
    assert Record(tmp_path / "deep").all("fault") == [{"what": "fault", "kind": "long.agent"}]


def test_a_run_that_was_cut_at_its_end_is_not_begun_anew(record: Record, tmp_path: Path) -> None:
    told: dict[str, Any] = {}
    soak(told.update, minutes=59, pause=1, seed=0, folder=str(tmp_path))
    assert told["minutes"] == facts_of(record)["minutes"]


def keeps(note: Note, folder: str) -> None:
    Record(Path(folder)).add("fault", kind="long.worker")
    note(where=folder)


@pytest.mark.slow
def test_a_job_that_keeps_what_it_finds_gets_a_folder_of_the_store(tmp_path: Path) -> None:
    task = Task(kind="soak", name="run", job=keeps, arguments={}, limit=60, code="c")
    found = run_all([task], Store(tmp_path), "abc")["soak"]["run"]
    assert Path(found["where"]).is_relative_to(tmp_path)
    assert Record(Path(found["where"])).all("fault")


def test_every_kind_of_job_comes_once_in_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, over, seen = Record(tmp_path), Event(), list[str]()

    def done(job: object, arguments: dict[str, Any]) -> dict[str, Any]:
        seen.append(job.__name__)  # type: ignore[attr-defined]
        if len(seen) == 8:
            over.set()
        return {"searches": 1}

    monkeypatch.setattr(sequence, "_done", done)
    sequence.search_on(record, Random(0), float("inf"), over)
    assert len({*seen}) == 8
    assert len(record.all("job")) == 8


def test_no_job_is_begun_that_is_likely_to_end_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(sequence, "_done", lambda job, arguments: {})
    record = Record(tmp_path)
    sequence.search_on(record, Random(0), 45.0, Event())
    # each takes 10 s: begun at 0, ended at 10, begun at 20 (30 by then), and at 40 it is too late
    assert len(record.all("job")) == 2


def test_a_failed_job_is_told_with_its_cause() -> None:
    def fails(note: Note, seed: int) -> None:
        note(stage="begun", searches=1)
        raise ValueError("no luck")

    assert sequence._done(fails, {"seed": 0}) == {"searches": 1, "failure": "ValueError: no luck"}


def test_there_is_one_task_and_a_quick_one_is_short() -> None:
    (full,), (quick,) = tasks(quick=False), tasks(quick=True)
    assert full.arguments["minutes"] == 120
    assert quick.arguments["minutes"] < 4
