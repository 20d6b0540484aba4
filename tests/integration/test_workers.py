"""Searches with several processes: what dies is replaced, and nothing is lost or done twice."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

import autoprune
from autoprune.agent.housing.workspace import STUDY, IfExists
from autoprune.agent.results.result import SearchResult
from autoprune.agent.run import kept_evaluations
from autoprune.artifacts.files import WEIGHTS
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress, ProgressCallback, silent
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
TRIALS = 10


def checked(out: Path, trials: int = TRIALS) -> None:
    """Look for trials that were lost, done twice, or left running."""
    with Database.open(sqlite_url(out / "autoprune.db")) as database:
        run = database.find_run(STUDY)
        assert run is not None
        made = database.evaluations(run.id)
    candidates = [one for one in made if one.outcome.split(":")[0] in ("scored", "stopped")]
    assert len(candidates) == trials
    assert set(Counter(one.policy.fingerprint for one in candidates).values()) == {1}
    study = optuna.load_study(study_name=STUDY, storage=sqlite_url(out / "autoprune.db"))
    ended = [one.user_attrs["outcome"] for one in study.trials if one.state.is_finished()]
    assert len(ended) == len(study.trials)
    assert sum(outcome != "abandoned" for outcome in ended) == trials


def search(
    project: Path, progress: ProgressCallback, runner: str, if_exists: IfExists = "fail"
) -> SearchResult:
    loaders: Any = load_object("code.py:loaders", base=project)
    return autoprune.search(
        load_object("code.py:trained", base=project)(),
        task=load_object("mortal.py:Mortal", base=project)(loaders(), project),
        budget="macs=50%",
        trials=TRIALS,
        onnx=False,
        out=project / "run",
        recovery=autoprune.Recovery(
            score_steps=4, recover_steps=8, finalists=3, calibration_batches=2
        ),
        progress=progress,
        runner=runner,
        if_exists=if_exists,
    )


def trained_again(project: Path, threads: int) -> bytes:
    """Return the winner's weights as this process alone trains it, from its start."""
    run, runner = project / "run", project / "alone.yaml"
    runner.write_text(f"kind: local\nworkers: 1\ndevice: cpu\nthreads: {threads}\n")
    for file in (run / "result.json", *run.glob("finalist-*.safetensors")):
        file.unlink()
    search(project, silent, f"file:{runner}", if_exists="resume")
    return (run / WEIGHTS).read_bytes()


@pytest.mark.parametrize("threads", [1, 2], ids=["forked", "spawned"])
def test_a_search_outlives_its_workers(project: Path, threads: int, tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").write_text(
        f"kind: local\nworkers: 2\ndevice: cpu\nthreads: {threads}\n"
    )
    left = [("search", 2), ("search", 5), ("recover", 1)]
    before = set(children())  # torch keeps a process to compile in, once a test has compiled

    def wish(event: Progress) -> None:
        """Let a worker die that trains from now on."""
        if left and event.stage == left[0][0] and event.done >= left[0][1]:
            (project / "die-{}-{}".format(*left.pop(0))).touch()

    found = search(project, wish, f"file:{tmp_path / 'runner.yaml'}")
    died = {file.name for file in project.glob("die*")}
    assert died == {"died-search-2", "died-search-5", "died-recover-1"}
    assert found.result.pruned.macs <= 0.5 * found.result.dense.macs
    assert found.result.search.evaluations == TRIALS
    checked(project / "run")
    assert not set(children()) - before
    by_workers = (project / "run" / WEIGHTS).read_bytes()
    assert trained_again(project, threads) == by_workers


def children(of: int | None = None) -> list[int]:
    """Return the processes that one, this one if left out, has started and not ended."""
    multiprocessing.active_children()  # takes leave of those that ended
    return [one.pid for one in psutil.Process(of).children()]


def test_a_search_whose_driver_dies_leaves_no_workers_and_goes_on(project: Path) -> None:
    words = [sys.executable, "-m", "autoprune", "search", "search.yaml", "--json"]
    words += ["--trials", str(TRIALS), "--workers", "2", "--if-exists", "resume"]
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own: set[int] = set()
    while driver.poll() is None and kept_evaluations(project / "run") < 3:
        own |= set(children(driver.pid))
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    assert own
    until = time.monotonic() + 10
    while any(_is_worker(pid) for pid in own) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(_is_worker(pid) for pid in own)
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    checked(project / "run")


def _is_worker(pid: int) -> bool:
    try:
        return b"autoprune" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
