"""The books of the fault benchmark: what it calls lost, done twice, left running."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.housing.presence import Presence
from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.study import close_study, open_study
from benchmarks.faults import journal, stored
from benchmarks.faults.__main__ import tasks
from benchmarks.faults.books import Books
from benchmarks.faults.figures import figures
from benchmarks.faults.journal import Line, Row
from benchmarks.faults.observed import JOURNAL, observe
from benchmarks.faults.processes import kill, marked, wait_until, workers

DRIVER, WORKER, OTHER = 10, 11, 12
A, B = ("a", "way"), ("b", "way")
ROW = Row(1, "scored", 0.5, 0.9)


def line(what: str, process: int = WORKER, policy: str = "a") -> Line:
    return Line(what, process, DRIVER, policy)


def test_what_was_stored_and_is_gone_or_altered_is_lost() -> None:
    told = [line("ended"), line("stored", DRIVER), line("ended", policy="b")]
    assert journal.lost(told, {}, {A: ROW}) == 0, "nobody was told of b"
    assert journal.lost(told, {}, {}) == 1
    assert journal.lost(told, {A: ROW}, {}) == 1, "counted once"
    assert journal.lost([], {A: ROW, B: ROW}, {A: ROW}) == 1
    assert journal.lost([], {A: ROW}, {A: ROW._replace(loss=0.4)}) == 1
    assert journal.lost([], {A: ROW}, {A: ROW._replace(number=2)}) == 0


@pytest.mark.parametrize(
    ("lines", "dead", "count"),
    [
        ([line("ended"), line("stored", DRIVER)], (), 0),
        ([line("ended"), line("ended", OTHER)], (), 1),
        ([line("ended"), line("ended", OTHER)], (WORKER,), 0),  # nobody got its score
        ([line("ended"), line("ended", OTHER)], (DRIVER,), 0),  # nobody stored it
        ([line("ended"), line("ended", OTHER), line("ended", OTHER)], (WORKER,), 1),
        ([line("ended"), line("stored", DRIVER), line("ended", OTHER)], (WORKER, DRIVER), 1),
        ([line("began"), line("began", OTHER), line("ended", OTHER)], (WORKER,), 0),
        ([line("ended"), line("ended", OTHER, "b")], (), 0),
    ],
)
def test_a_score_may_be_made_again_only_if_it_died_with_its_process(
    lines: list[Line], dead: tuple[int, ...], count: int
) -> None:
    assert journal.done_twice(lines, dead, {}, {}) == count


def test_an_evaluation_that_was_stored_anew_was_made_again() -> None:
    assert journal.done_twice([], (), {A: ROW}, {A: ROW}) == 0
    assert journal.done_twice([], (), {A: ROW}, {A: ROW._replace(number=2)}) == 1


def test_a_database_is_read_beside_its_file(tmp_path: Path) -> None:
    file = tmp_path / "autoprune.db"
    assert (stored.evaluations(file), stored.running(file)) == ({}, 0)
    policy = Policy({"stem": Choice("channel.l1", 0.5)})
    with Database.open(sqlite_url(file)) as database:
        run = database.start_run("r", {}, "m", "d")
        for outcome, way in (("scored", "s"), ("outrun: early stop", "f")):
            key = EvaluationKey("m", "d", policy.fingerprint, way)
            database.record_evaluation(run, key, Evaluation(policy, outcome, 0.5, 0.9, 1.0, 1.0))
        study = open_study(sqlite_url(file), "r")
        study.tell(study.ask(), 1.0)
        study.ask()
        files = {path.name for path in tmp_path.iterdir()}
        assert stored.evaluations(file) == {(policy.fingerprint, "s"): ROW}
        assert stored.running(file) == 1
        assert {path.name for path in tmp_path.iterdir()} == files
        close_study(study)


def test_books_compare_the_journal_with_what_is_stored(tmp_path: Path) -> None:
    policy = Policy({"stem": Choice("channel.l1", 0.5)})
    lines = [line("ended", policy=name) for name in (policy.fingerprint, "b")]
    lines += [line("stored", DRIVER, policy.fingerprint)]
    file = tmp_path / "journal.jsonl"
    file.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in lines))
    books = Books(file, tmp_path / "autoprune.db")
    assert (books.done(1), books.done(2)) == (True, False)
    assert (books.last_of(DRIVER), books.last_of(99)) == ("stored", "starting")
    assert books.counts() == {"evaluations": 1, "lost": 1, "done_twice": 0, "left_running": 0}
    with Database.open(sqlite_url(tmp_path / "autoprune.db")) as database:
        run = database.start_run("r", {}, "m", "d")
        key = EvaluationKey("m", "d", policy.fingerprint, "s")
        database.record_evaluation(run, key, Evaluation(policy, "scored", 0.5, 0.9, 1.0, 1.0))
        books.look()
        assert books.counts()["lost"] == 0
        database.replace_evaluation(run, key, Evaluation(policy, "scored", 0.4, 0.9, 1.0, 1.0))
        assert books.counts()["lost"] == 1


def test_processes_are_found_by_their_mark_and_their_parent() -> None:
    code = "import os, time; os.fork(); os.fork(); time.sleep(60)"
    mark = f"FAULTS_TEST={os.getpid()}"
    env = os.environ | dict([mark.split("=")])
    with subprocess.Popen([sys.executable, "-c", code], env=env) as driver:
        assert wait_until(lambda: len(marked(mark)) == 4, 30)
        found = workers(driver.pid)
        assert len(found) == 2
        assert {driver.pid, *found} < marked(mark)
        for process in marked(mark):
            kill(process)
    assert wait_until(lambda: not marked(mark), 30)


def test_figures_add_tasks_up() -> None:
    done = {"kills": 5, "searches": 3, "lost": 0, "done_twice": 0, "left_running": 0}
    found = figures(
        {
            "driver": {
                "0": {**done, "same": 3, "compared": 3, "moments": {"began": 4, "search": 1}},
                "1": {**done, "same": 2, "compared": 3, "moments": {"began": 5}, "lost": 1},
            },
            "server": {"20s": {"searches": 1, "code": 0}, "gone": {"failure": "Failed: no"}},
        }
    )
    assert (found["kills"], found["searches"], found["lost"]) == (10, 7, 1)
    assert found["same_policy"] == pytest.approx(5 / 6)
    assert found["moments"] == {"began": 9, "search": 1}
    assert found["codes"] == {"server.20s": 0}
    assert found["failed"] == {"server.gone": "Failed: no"}


def test_nothing_measured_gives_no_figure() -> None:
    found = figures({"driver": {"0": {"failure": "OSError: no"}}})
    assert [found[name] for name in ("kills", "lost", "done_twice", "same_policy")] == [None] * 4


def test_the_full_run_kills_fifty_and_a_quick_one_has_one_of_each() -> None:
    full, quick = list(tasks(quick=False)), list(tasks(quick=True))
    assert sum(int(task.arguments.get("kills", 0)) for task in full) == 50
    kinds = {task.kind for task in full}
    assert kinds == {"driver", "worker", "agent", "server", "disk", "clock", "ray", "twice"}
    assert sorted(task.kind for task in quick) == sorted(kinds)


def test_what_is_stored_is_noted_one_by_one_or_in_lots(
    evaluations_by: Callable[[Scorer], Evaluations],
    scorer_of: Callable[[Recovery], Scorer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind, name in ((Scorer, "score"), (Evaluations, "keep_all"), (Presence, "noting")):
        monkeypatch.setattr(kind, name, getattr(kind, name))  # as they were, afterwards
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal.jsonl"))
    observe()
    evaluations = evaluations_by(scorer_of(Recovery()))
    one, two, three = (
        Evaluation(Policy({"stem": Choice("channel.l1", at)}), "scored", 1.0, 0.5, 1.0, 1.0)
        for at in (0.25, 0.5, 0.75)
    )
    evaluations.keep(one)
    evaluations.keep_all([two, three])
    told = [
        line.policy for line in journal.read(tmp_path / "journal.jsonl") if line.what == "stored"
    ]
    assert told == [found.policy.fingerprint for found in (one, two, three)]
