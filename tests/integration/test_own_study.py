"""Studies of one's own, as a user runs them: the example, and two processes on one file."""

import re
import subprocess
import sys
from pathlib import Path

import optuna
from optuna.trial import TrialState

from autoprune.storage.engine import sqlite_url
from autoprune.testing.samplers import mixed

CHECKOUT = Path(__file__).parents[2]
PROCESS = """
import sys
import optuna
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.testing.samplers import mixed

sampler = BudgetedSampler(mixed(), 0)
study = optuna.load_study(study_name="s", storage=sys.argv[1], sampler=sampler)
print("ready", flush=True)
sys.stdin.readline()


def objective(trial):
    for name, one in sampler.space.items():
        trial._suggest(name, one)
    return float(sampler.encoding.removed(sampler.encoding.row(trial.params)).sum())


study.optimize(objective, n_trials=6)
"""


def test_the_example_prunes_inside_the_budget() -> None:
    script = CHECKOUT / "examples" / "own_study" / "optuna_study.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.search(r"best policy: loss (.*) at (.*)% of the multiply-adds", done.stdout)
    assert found, done.stdout
    assert float(found[1]) < 0.5
    assert float(found[2]) <= 50
    assert re.search(r"16 trials, [1-9]\d* of them stopped early", done.stdout)


def test_two_processes_on_one_file_score_different_policies(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    study = optuna.create_study(study_name="s", storage=url)
    command = [sys.executable, "-c", PROCESS, url]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:  # both begin at the same moment
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate() and process.returncode for process in both] == [0, 0]
    projection, trials = mixed(), study.trials
    levels = [{u: t.params[f"level:{u}"] for u in projection.spaces} for t in trials]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 12
    assert all(projection.feasible(one) for one in levels)
    assert len({tuple(trial.params.items()) for trial in trials}) == 12
