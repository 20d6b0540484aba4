"""Several agents on one PostgreSQL: none scores what another does, the dead leave nothing."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from autoprune.agent.housing.workspace import SESSIONS
from autoprune.storage.database import Database
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study

TRIALS = 10


@pytest.fixture
def url(postgres: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AUTOPRUNE_DATABASE", postgres)
    file = project / "search.yaml"
    settings = yaml.safe_load(file.read_text())
    settings |= {"trials": TRIALS, "checkpoint": "code.py:weights"}
    settings["recovery"]["score_steps"] = 80
    file.write_text(yaml.safe_dump(settings))
    code = project / "code.py"  # slow enough for others to come
    slow = "def forward(self, x):\n        __import__('time').sleep(0.03)\n"
    code.write_text(code.read_text().replace("def forward(self, x):\n", slow))
    return postgres


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autoprune", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def scored(url: str, name: str = "run") -> list[Evaluation]:
    with Database.open(url) as database:
        run = database.find_run(name)
        made = database.evaluations(run.id) if run else []
    return [one for one in made if one.outcome.split(":")[0] in ("scored", "stopped")]


def wait_for(url: str, count: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 200
    while len(scored(url)) < count and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert len(scored(url)) >= count, ended(process)


def check(url: str) -> Counter[str]:
    """Look for what was lost, done twice or left running; return the trials of each agent."""
    made = scored(url)
    assert len(made) == TRIALS
    assert set(Counter(one.policy.fingerprint for one in made).values()) == {1}
    study = open_study(url, "run")
    trials = study.get_trials()
    close_study(study)
    assert all(trial.state.is_finished() for trial in trials)
    kept = [trial for trial in trials if trial.user_attrs["outcome"] != "abandoned"]
    assert len(kept) == TRIALS
    return Counter(trial.user_attrs["agent"] for trial in kept)


def test_an_agent_joins_and_shares_the_work(url: str) -> None:
    first = started("search", "search.yaml", "--json")
    wait_for(url, 1, first)
    second = started("agent", "join", "run", "--json")
    code, out, err = ended(second)
    assert code == 0, err
    assert json.loads(out)["evaluations"] == TRIALS
    code, out, err = ended(first)
    assert code == 0, err
    assert json.loads(out)["pruned"]["macs"] <= 0.5 * json.loads(out)["dense"]["macs"]
    with Database.open(url) as database:
        run = database.find_run("run")
    assert run is not None
    assert [one["joined"] for one in run.kept[SESSIONS]] == [False, True]
    shares = check(url)
    assert len(shares) == 2
    assert min(shares.values()) >= 1


def test_an_agent_that_is_there_first_waits_for_the_search(url: str) -> None:
    early = started("agent", "join", "run", "--file", "search.yaml", "--json")
    time.sleep(8)  # so that it looks for the run before there is one
    assert early.poll() is None
    first = started("search", "search.yaml", "--json")
    code, out, err = ended(early)
    assert (code, json.loads(out)["evaluations"]) == (0, TRIALS), err
    code, _, err = ended(first)
    assert code == 0, err
    check(url)


def test_what_a_killed_agent_had_is_done_by_others_and_a_second_search_leaves(url: str) -> None:
    first = started("search", "search.yaml", "--json")
    wait_for(url, 1, first)
    second = started("agent", "join", "run")
    third = started("search", "search.yaml", "--if-exists", "resume")
    code, _, err = ended(third)
    assert (code, "leaves it to that" in err) == (0, True), err
    wait_for(url, 5, second)
    second.kill()
    ended(second)
    code, _, err = ended(first)
    assert code == 0, err
    check(url)


def test_a_killed_search_goes_on_elsewhere(url: str) -> None:
    first = started("search", "search.yaml")
    wait_for(url, 4, first)
    first.kill()
    ended(first)
    code, out, err = ended(started("agent", "join", "run"))
    assert code == 0, err
    assert "Nobody works on the run now: the command that began it goes on" in out
    code, out, err = ended(
        started("search", "search.yaml", "--if-exists", "resume", "--out", "other/run", "--json")
    )
    assert code == 0, err
    check(url)
    assert json.loads(out)["search"]["evaluations"] == TRIALS
    code, _, err = ended(started("search", "search.yaml", "--out", "third/run"))
    assert code == 2
    assert "database under the name 'run' holds a run already" in err


def test_what_cannot_be_joined_is_said(url: str, tmp_path: Path) -> None:
    code, _, err = ended(started("agent", "join", "nosuch", "--wait", "1s"))
    assert code == 2
    assert "The database has no run 'nosuch'. Known: none. Waited 1 s (--wait)" in err
    code, _, err = ended(started("agent", "join", "run", "--database", str(tmp_path / "a.db")))
    assert (code, "share a database server" in err) == (2, True)
