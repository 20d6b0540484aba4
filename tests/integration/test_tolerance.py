"""Whole searches for the smallest model within a drop: by Python, by command line, killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from torch import nn

import autoprune
from autoprune.agent.goals.attempts import Attempt
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.result import SCHEMA_FILE, Result
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress
from autoprune.core.tolerance import Tolerance
from autoprune.errors import BudgetError, ConfigError, RunExistsError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.scoring.scorer import Scorer

CHECKOUT = Path(__file__).parents[2]
RECOVERY = autoprune.Recovery(score_steps=2, recover_steps=8, finalists=2, calibration_batches=1)


def net(project: Path) -> nn.Module:
    """Return the user's network, trained a little."""
    model: nn.Module = load_object("code.py:trained", base=project)()
    return model


def task_of(project: Path) -> autoprune.Classification:
    return autoprune.Classification(load_object("code.py:loaders", base=project)())


def search(project: Path, **changes: Any) -> SearchResult:
    given: dict[str, Any] = {
        **{"task": task_of(project), "max_drop": 10.0, "trials": 12, "onnx": False},
        **{"recovery": RECOVERY, "constructor": "code.py:net", "out": project / "run"},
        **{"runner": f"file:{project / 'runner.yaml'}", "progress": lambda event: None},
    }
    found = autoprune.search(net(project), **given | changes)
    assert isinstance(found, SearchResult)
    return found


@pytest.fixture(scope="module")
def first(user_folder: Path) -> SearchResult:
    """Return a finished search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        return search(user_folder)


@pytest.fixture
def copy(first: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the finished run beside it, where paths to the user's files fit."""
    project = first.folder.parent
    monkeypatch.chdir(project)
    return Path(shutil.copytree(first.folder, project / f"{tmp_path.name}-run"))


def files(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder, but for the database and its lock."""
    own = (path for path in folder.iterdir() if not path.name.startswith(("autoprune.db", "run.")))
    return {path.name: path.read_bytes() for path in own}


def timeless(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    assert content["search"].pop("seconds") > 0
    return content


def test_the_result_says_what_was_asked_and_what_it_came_to(
    first: SearchResult, user_folder: Path
) -> None:
    text = (first.folder / "result.json").read_text(encoding="utf-8")
    Draft202012Validator(json.loads(SCHEMA_FILE.read_text())).validate(json.loads(text))
    result = Result.model_validate_json(text)
    goal = result.goal
    assert goal is not None
    assert result == first.result
    assert (goal.max_drop, goal.minimise, goal.trials) == (10.0, "macs", 12)
    dense, task = net(user_folder).eval(), task_of(user_folder)
    pruned = autoprune.load(first.folder, dense)
    for split, told in (("search", goal.drop_search), ("test", goal.drop_test)):
        both = (measure(model, task, split, "cpu").quality for model in (dense, pruned))  # type: ignore[arg-type]
        assert told == pytest.approx(Tolerance(0).drop(*both))
    assert goal.drop_search <= goal.max_drop
    assert goal.standard_error is not None
    assert goal.standard_error >= 0


def test_it_is_the_smallest_of_the_limits_that_held(first: SearchResult) -> None:
    goal, result = first.result.goal, first.result
    assert goal is not None
    held = [one for one in goal.limits if one.within]
    assert result.pruned.macs / result.dense.macs == min(one.share or 1 for one in held)
    assert all((one.drop or 0) <= 10 for one in held)
    assert all(one.drop is None or one.drop > 10 for one in goal.limits if not one.within)
    assert sum(one.evaluations for one in goal.limits) == result.search.evaluations <= 12
    (limit,) = result.budget.items()
    assert f"{limit[0]}={limit[1]}" in [one.limit for one in held]
    assert result.checks.budget_met


def test_the_reports_show_the_drop_and_the_limits(first: SearchResult) -> None:
    goal = first.result.goal
    assert goal is not None
    report = (first.folder / "report.md").read_text(encoding="utf-8")
    assert "## Drop" in report
    assert f"{goal.drop_search:.2f} ± {goal.standard_error:.2f} points" in report
    for one in goal.limits:
        assert f"| {one.limit} | {one.evaluations} |" in report


def test_a_finished_search_is_returned_as_it_lies_there(
    first: SearchResult, user_folder: Path, copy: Path
) -> None:
    before, events = files(copy), list[Progress]()
    again = search(user_folder, out=copy, if_exists="resume", progress=events.append)
    assert again.result == first.result
    assert files(copy) == before
    assert [event.stage for event in events] == ["verify"]


def test_with_more_trials_it_goes_on_and_scores_nothing_again(
    first: SearchResult, user_folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, score = list[str](), Scorer.score

    def counted(scorer: Scorer, policy: Any, steps: int, watch: Any = None) -> Any:
        scored.append(policy.fingerprint)
        return score(scorer, policy, steps, watch)

    monkeypatch.setattr(Scorer, "score", counted)
    more = search(user_folder, out=copy, if_exists="resume", trials=16).result
    assert more.goal is not None
    assert first.result.goal is not None
    assert more.search.evaluations == first.result.search.evaluations + len(scored)
    assert more.goal.limits[: len(first.result.goal.limits)] == first.result.goal.limits
    assert more.pruned.macs <= first.result.pruned.macs


def test_another_goal_is_another_run(user_folder: Path, copy: Path) -> None:
    with pytest.raises(
        RunExistsError, match="tolerance: lowest macs within 10 points -> lowest m"
    ):
        search(user_folder, out=copy, if_exists="resume", max_drop=5)
    with pytest.raises(RunExistsError, match="-> lowest params within 10 points"):
        search(user_folder, out=copy, if_exists="resume", minimise="params")


def test_where_nothing_is_within_it_says_so_and_keeps_all(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No model is within a drop that is not allowed at all, until it is allowed."""
    monkeypatch.chdir(user_folder)
    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "holds", lambda *_: False)
        with pytest.raises(BudgetError, match="No model within 10 points of the dense") as told:
            search(user_folder, out=tmp_path / "run", trials=6)
        assert re.search(r"drops by -?\d+\.\d\d points and has \d+\.\d% of the", str(told.value))
        assert not (tmp_path / "run" / "result.json").exists()
    found = search(user_folder, out=tmp_path / "run", trials=8, if_exists="resume").result
    assert 6 <= found.search.evaluations <= 8


@pytest.mark.parametrize("sampler", ["tpe", "uniform"])
def test_other_samplers_and_costs_do_it_too(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    monkeypatch.chdir(user_folder)
    wanted: dict[str, Any] = {"minimise": "params", "budget": "macs=60%", "sampler": sampler}
    found = search(user_folder, out=tmp_path / "run", trials=20, **wanted).result
    assert found.goal is not None
    assert found.goal.minimise == "params"
    assert found.budget.keys() == {"macs", "params"}
    assert found.pruned.macs <= 0.6 * found.dense.macs
    assert found.pruned.params < found.dense.params
    assert found.search.evaluations < 20 or sampler == "tpe"
    events = list[Progress]()
    again: dict[str, Any] = {"if_exists": "resume", "progress": events.append}
    assert search(user_folder, out=tmp_path / "run", trials=20, **wanted, **again).result == found
    assert [event.stage for event in events] == ["verify"], "trials it had no use for are no more"


def test_what_is_no_question_is_refused(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user_folder)
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"max_drop searches the one smallest model.*Give one"):
        search(user_folder, out=out, pareto="macs")
    with pytest.raises(ConfigError, match="Give max_drop as well"):
        search(user_folder, out=out, max_drop=None, minimise="params")
    with pytest.raises(ConfigError, match=r"max_drop must be a number of at least 0\. Got -1"):
        search(user_folder, out=out, max_drop=-1)
    with pytest.raises(BudgetError, match=r"minimised is a cost.*Did you mean 'macs'"):
        search(user_folder, out=out, minimise="mac")
    with pytest.raises(ConfigError, match="'cmaes' searches inside one budget"):
        search(user_folder, out=out, sampler="cmaes")
    assert not out.exists()


# --- by command line


def started(folder: Path, *words: str) -> "subprocess.Popen[str]":
    database = folder / f"{words[words.index('--out') + 1]}.db"  # the second one would pay less
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "autoprune", "search", "search.yaml", *words],
        cwd=folder,
        env=environment | {"AUTOPRUNE_DATABASE": str(database)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(folder: Path, *words: str) -> dict[str, Any]:
    process = started(folder, *words, "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    content: dict[str, Any] = json.loads(out)
    return content


def killed_at(folder: Path, moment: str, *words: str) -> None:
    """Start a search, and kill it as soon as its progress says ``moment``."""
    process = started(folder, *words)
    assert process.stderr is not None
    for line in process.stderr:
        if moment in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was killed before its end"


@pytest.mark.slow
def test_digits_are_pruned_within_a_drop_killed_or_not(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "examples" / "digits", tmp_path / "digits")
    folder = tmp_path / "digits"
    file = folder / "search.yaml"
    config = yaml.safe_load(file.read_text()) | {"onnx": False, "runner": "file:./one.yaml"}
    config["recovery"] = {"score_steps": 8, "recover_steps": 40, "finalists": 2}
    file.write_text(yaml.safe_dump(config))
    (folder / "one.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    words = ("--max-drop", "2", "--trials", "12")
    whole = done(folder, *words, "--out", "whole")
    goal = whole["goal"]
    assert goal["drop_search"] <= 2
    assert whole["pruned"]["macs"] < 0.4 * whole["dense"]["macs"]
    assert {one["within"] for one in goal["limits"]} == {True, False}
    for moment in ("limit 3: ", "checking the result"):
        killed_at(folder, moment, *words, "--out", "killed", "--if-exists", "resume")
    again = done(folder, *words, "--out", "killed", "--if-exists", "resume")
    assert timeless(folder / "killed") == timeless(folder / "whole")
    assert again["goal"] == goal
    weights = [
        (folder / name / "weights.safetensors").read_bytes() for name in ("whole", "killed")
    ]
    assert weights[0] == weights[1]
