"""Through the command line: a progressive run that is killed with SIGKILL ends the same."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autoprune.agent.housing.workspace import CHECKPOINTS, DATABASE, STUDY
from autoprune.artifacts.files import sha256_of
from autoprune.ledger_api import ledger
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url

Run = Callable[..., tuple[int, str, str]]
RECOVERY = """
recovery:
  schedule: progressive
  score_steps: 2
  recover_steps: 60
  prune_rounds: 3
  finalists: 3
  calibration_batches: 2
"""


@pytest.fixture
def file(project: Path) -> Path:
    """Return a search file of a progressive run."""
    path = project / "search.yaml"
    text, count = re.subn(r"recovery: .*\n", RECOVERY, path.read_text())
    assert count == 1
    path.write_text(text)
    return path


def test_a_progressive_run_ends_inside_the_budget(
    project: Path, file: Path, run_autoprune: Run
) -> None:
    command = ("search", file.name, "--quiet", "--out", "runs/p")
    code, _, err = run_autoprune(*command)
    assert code == 0, err
    result = json.loads((project / "runs/p/result.json").read_text())
    assert result["pruned"]["macs"] <= 0.5 * result["dense"]["macs"]
    assert result["checks"]["sliced_equals_masked"]
    assert 1 <= len(list((project / "runs/p" / CHECKPOINTS).glob("*.pt"))) <= 3
    assert ledger(project / "runs/p"), "alternatives were examined"
    steps = result["steps"]
    used = [step["used"]["macs"] for step in steps]
    assert steps[-1]["training_steps"] == 60
    assert used[0] > used[-1] == result["pruned"]["macs"] / result["dense"]["macs"]
    assert "cut and trained" in (project / "runs/p/report.md").read_text()
    code, _, err = run_autoprune(*command, "--if-exists", "resume")
    assert code == 0, err


def test_killed_it_ends_as_if_nobody_had_touched_it(
    project: Path, file: Path, run_autoprune: Run
) -> None:
    whole = ("--out", "runs/whole", "--database", "whole.db")  # neither finds what the other paid
    code, _, err = run_autoprune("search", file.name, "--quiet", *whole)
    assert code == 0, err
    folder = project / "runs/killed" / CHECKPOINTS
    command = [sys.executable, "-m", "autoprune", "search", file.name, "--quiet"]
    command += ["--out", "runs/killed", "--if-exists", "resume"]
    seen: set[str] = set()
    kills = 0
    while kills < 3:
        process = subprocess.Popen(command, cwd=project)
        while process.poll() is None:
            now = {path.name for path in folder.glob("*.pt")} if folder.is_dir() else set()
            if now - seen:
                seen |= now
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        if process.wait() == 0:
            break
    assert kills >= 2, "or this tests nothing"
    assert subprocess.run(command, cwd=project).returncode == 0
    names = ("weights.safetensors", "policy.json")
    sums = [[sha256_of(project / "runs" / run / n) for n in names] for run in ("whole", "killed")]
    assert sums[0] == sums[1]
    first, second = (ledger(project / "runs" / run) for run in ("whole", "killed"))
    assert [entry.to_dict() for entry in first] == [entry.to_dict() for entry in second]


def test_a_drop_is_kept_progressively_and_all_runs_are_paid_for(
    project: Path, file: Path, run_autoprune: Run
) -> None:
    text = file.read_text().replace("budget: {macs: 50%}\n", "max_drop: 20\n")
    file.write_text(text.replace("trials: 6", "trials: 12"))
    command = ("search", file.name, "--quiet", "--out", "runs/drop")
    code, _, err = run_autoprune(*command)
    assert code == 0, err
    folder = project / "runs/drop"
    result = json.loads((folder / "result.json").read_text())
    assert len(result["goal"]["limits"]) >= 2
    with Database.open(sqlite_url(folder / DATABASE)) as database:
        run = database.find_run(STUDY)
        assert run is not None
        trained = Checkpoints.spent(database, run.id, "sample_forwards")
        scored = [e for e in database.evaluations(run.id) if e.outcome == "scored"]
    assert result["search"]["sample_forwards"] > trained + sum(e.sample_forwards for e in scored)
    assert trained > 0
    again, _, err = run_autoprune(*command[:-1], "runs/drop", "--if-exists", "overwrite")
    assert again == 0, err
    assert json.loads((folder / "result.json").read_text())["policy"] == result["policy"]
