"""A search with the runner ray-tune whose driver is killed, and which is gone on with.

``ray_tune_killed.py FOLDER`` prints as JSON the policies that were underway then, and how many
processes of Ray it left.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import optuna
from optuna.trial import TrialState

from autoprune.agent.housing.workspace import STUDY
from autoprune.agent.run import kept_evaluations
from autoprune.storage.engine import sqlite_url

RUNNER = """\
kind: ray-tune
workers: 2
device: cpu
scheduler: {name: asha, reduction_factor: 2}
"""


def processes() -> set[int]:
    """Return the nodes and workers of Ray in this network, and so of this test."""
    own, found = Path("/proc/self/ns/net").readlink(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            names = (b"ray::JobTrial", b"ray::ResourceTrainable", b"/raylet")
            ray = any(name in words for name in names)
            if ray and (folder / "ns/net").readlink() == own:
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def main(project: Path) -> None:
    """Search, kill, look, and go on."""
    (project / "tune.yaml").write_text(RUNNER)
    words = [sys.executable, "-m", "autoprune", "search", "search.yaml", "--json"]
    words += ["--trials", "8", "--runner", "file:tune.yaml", "--no-sensitivity"]
    words += ["--if-exists", "resume"]
    before = processes()
    driver = subprocess.Popen(words, cwd=project, stdout=subprocess.DEVNULL)
    while driver.poll() is None and kept_evaluations(project / "run") < 3:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    study = optuna.load_study(
        study_name=STUDY, storage=sqlite_url(project / "run" / "autoprune.db")
    )
    underway = [one.params for one in study.trials if one.state == TrialState.RUNNING]
    until = time.monotonic() + 60
    while processes() - before and time.monotonic() < until:
        time.sleep(0.1)
    left = len(processes() - before)
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # and nothing else is said there
    print(json.dumps({"underway": underway, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
