"""``autoprune runs`` and ``autoprune db`` on a real PostgreSQL, with a real search."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoprune.core.heartbeat import Heartbeat
from autoprune.storage.database import Database
from autoprune.storage.study import close_study, open_study

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(postgres: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AUTOPRUNE_DATABASE", postgres)
    file = project / "search.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["recovery"]["score_steps"] = 200
    settings["trials"] = 30
    file.write_text(yaml.safe_dump(settings))
    return postgres


def evaluations(url: str, name: str) -> int:
    with Database.open(url) as database:
        run = database.find_run(name)
        return len(database.evaluations(run.id)) if run else 0


def one_of(run_autoprune: Run, name: str) -> dict[str, Any]:
    code, out, err = run_autoprune("runs", "list", "--json")
    assert code == 0, err
    (found,) = [one for one in json.loads(out) if one["name"] == name]
    return dict(found)


def test_a_search_is_watched_stopped_and_removed(
    url: str, project: Path, run_autoprune: Run
) -> None:
    words = ["search", "search.yaml", "--name", "night"]
    search = subprocess.Popen(
        [sys.executable, "-m", "autoprune", *words],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        until = time.monotonic() + 200
        while evaluations(url, "night") < 2 and time.monotonic() < until:
            assert search.poll() is None, search.communicate()
            time.sleep(0.2)
        found = one_of(run_autoprune, "night")
        assert (found["state"], found["agents"]) == ("running", 1)
        assert found["evaluations"] >= 2
        beat = Heartbeat.of(project / "run")
        assert beat is not None
        assert beat.process == search.pid
        for name in ("run", "night"):
            assert run_autoprune("runs", "status", name, "--max-age", "120s")[0] == 0
        assert run_autoprune("db", "check")[0] == 0
        code, _, err = run_autoprune("runs", "rm", "night")
        assert (code, f"process {search.pid}" in err) == (2, True)
        search.terminate()
        _, told = search.communicate(timeout=100)
    finally:
        search.kill()
    assert search.returncode == 3, told
    count = evaluations(url, "night")
    assert f"{count} finished evaluations are kept in postgresql" in told
    assert "under the name 'night'" in told
    stopped = one_of(run_autoprune, "night")
    assert (stopped["state"], stopped["evaluations"]) == ("stopped", count)
    assert stopped["folder"] == str(project / "run")
    assert 0 < stopped["quality"] <= 1
    assert 0 < stopped["macs_share"] <= 1
    for name in ("run", "night"):
        assert run_autoprune("runs", "status", name)[0] == 1
    shown = json.loads(run_autoprune("runs", "show", "night", "--json")[1])
    assert shown["settings"]["trials"] == 30
    assert shown["best"]
    assert run_autoprune("runs", "rm", "night", "--json")[0] == 0
    assert (project / "run" / "run.json").is_file()
    assert _rows(run_autoprune)["studies"] == 0
    assert _rows(run_autoprune)["ap_run"] == 0
    assert _rows(run_autoprune)["ap_evaluation"] == count, "they serve later runs"
    again = run_autoprune(*words, "--if-exists", "overwrite", "--trials", "3", "--json")
    assert again[0] == 0, again[2]
    own = evaluations(url, "night")
    assert own < 3 + 2, "of three candidates and two finalists some were scored before"
    assert json.loads(again[1])["search"]["reused"] == 3 + 2 - own
    assert _rows(run_autoprune)["ap_evaluation"] == count + own
    assert one_of(run_autoprune, "night")["state"] == "finished"
    assert run_autoprune("runs", "rm", "night", "--evaluations")[0] == 0
    assert _rows(run_autoprune)["ap_evaluation"] == count


def test_trials_without_an_agent_are_found(url: str, run_autoprune: Run) -> None:
    with Database.open(url) as database:
        database.start_run("night", {}, "model", "data")
    study = open_study(url, "night")
    study.ask()
    close_study(study)
    code, out, _ = run_autoprune("db", "check", "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    assert "1 trial is unfinished in the run 'night'" in json.loads(out)["notes"][0]
    assert json.loads(out)["rows"]["studies"] == 1


def _rows(run_autoprune: Run) -> dict[str, int]:
    return dict(json.loads(run_autoprune("db", "check", "--json")[1])["rows"])
