"""Whole searches along a front: what they write, resume, leave out and refuse."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

import autoprune
from autoprune.agent.finalists.inside import Inside
from autoprune.agent.goals import members
from autoprune.agent.goals.front import FrontResult
from autoprune.agent.housing.workspace import STUDY
from autoprune.artifacts.front import SCHEMA_FILE, Front
from autoprune.artifacts.result import Result, schema_text
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress
from autoprune.errors import BudgetError, ConfigError, RunExistsError
from autoprune.storage.engine import sqlite_url
from autoprune.storage.study import close_study, costs_of, open_study

RECOVERY = autoprune.Recovery(score_steps=2, recover_steps=4, finalists=2, calibration_batches=1)
LIMITS = {"macs=30%": 0.3, "macs=47.4%": 0.474, "macs=75%": 0.75}


def net(project: Path) -> nn.Module:
    """Return the user's network, trained a little: what is cut less loses less."""
    model: nn.Module = load_object("code.py:trained", base=project)()
    return model


def _task(project: Path) -> autoprune.Classification:
    return autoprune.Classification(load_object("code.py:loaders", base=project)())


def search(project: Path, **changes: Any) -> FrontResult:
    given: dict[str, Any] = {
        **{"task": _task(project), "pareto": "macs=30%..75%", "points": 3, "trials": 9},
        **{
            "onnx": False,
            "recovery": RECOVERY,
            "constructor": "code.py:net",
            "out": project / "run",
        },
        **{"runner": f"file:{project / 'runner.yaml'}", "progress": lambda event: None},
    }
    found = autoprune.search(net(project), **given | changes)
    assert isinstance(found, FrontResult)
    return found


@pytest.fixture(autouse=True, scope="module")
def _larger_is_better() -> Iterator[None]:
    """Of few samples qualities are often alike: have the front believe that they are not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members.Member, "quality", property(lambda member: member.share))
        yield


@pytest.fixture(scope="module")
def first(user_folder: Path) -> FrontResult:
    """Return a finished front."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        return search(user_folder)


@pytest.fixture
def copy(first: FrontResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the finished front beside it, where paths to the user's files fit."""
    project = first.folder.parent
    monkeypatch.chdir(project)
    return Path(shutil.copytree(first.folder, project / f"{tmp_path.name}-run"))


def files(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder and below, but for the database and its lock."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    own = (path for path in paths if not path.name.startswith(("autoprune.db", "run.lock")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in own}


def test_there_is_a_whole_result_at_each_limit(first: FrontResult, user_folder: Path) -> None:
    assert [one.limit for one in first.front.points] == list(LIMITS)
    dense = net(user_folder)
    for point, summary in zip(first.points, first.front.points, strict=True):
        assert point.folder == first.folder / summary.folder
        result = Result.model_validate_json((point.folder / "result.json").read_text())
        assert result.checks.budget_met
        assert summary.share == result.pruned.macs / result.dense.macs <= LIMITS[summary.limit]
        assert summary.pruned == result.pruned
        assert result.search == first.front.search
        assert (point.folder / "report.md").is_file()
        model = autoprune.load(point.folder, dense)
        inputs = torch.rand(2, 1, 6, 6)
        torch.testing.assert_close(model(inputs), point.model(inputs))
    shares = [one.share for one in first.front.points]
    assert shares == sorted(shares)
    assert first.front.search.evaluations == 9


def test_the_front_is_written_in_its_form(first: FrontResult) -> None:
    text = (first.folder / "front.json").read_text(encoding="utf-8")
    assert Front.model_validate_json(text) == first.front
    Draft202012Validator(json.loads(SCHEMA_FILE.read_text())).validate(json.loads(text))
    page = (first.folder / "report.html").read_text(encoding="utf-8")
    assert all(limit in page for limit in LIMITS)
    report = (first.folder / "report.md").read_text(encoding="utf-8")
    assert all(name in report for name in ("point-1", "point-2", "point-3", "dense"))


def test_the_shipped_schema_is_the_one_of_the_code() -> None:
    """Write it anew with ``python -m autoprune.artifacts.front``."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(Front)


def test_the_study_holds_both_objectives(first: FrontResult) -> None:
    study = open_study(sqlite_url(first.folder / "autoprune.db"), STUDY, costs=["macs"])
    assert costs_of(study) == ["macs"]
    assert study.best_trials
    assert all(len(trial.values) == 2 for trial in study.best_trials)
    close_study(study)


def test_a_finished_front_is_returned_as_it_lies_there(
    first: FrontResult, user_folder: Path, copy: Path
) -> None:
    before = files(copy)
    again = search(user_folder, out=copy, if_exists="resume")
    assert again.front == first.front
    assert [one.result for one in again.points] == [one.result for one in first.points]
    assert files(copy) == before


def test_a_front_that_was_stopped_does_no_point_again(
    first: FrontResult, user_folder: Path, copy: Path
) -> None:
    before = files(copy)
    for name in ("front.json", "report.html", "report.md", "point-3/result.json"):
        (copy / name).unlink()
    finished = list[Progress]()
    search(user_folder, out=copy, if_exists="resume", progress=finished.append)
    assert [event.stage for event in finished].count("verify") == 1, "one point alone"
    after = files(copy)
    assert after.pop("report.html") != before.pop("report.html"), "it names the folder"
    assert after == before


def test_with_more_trials_it_goes_on(first: FrontResult, user_folder: Path, copy: Path) -> None:
    with pytest.raises(RunExistsError, match=r"pareto: macs=30%\.\.75%, 3 points -> "):
        search(user_folder, out=copy, if_exists="resume", points=4)
    more = search(user_folder, out=copy, if_exists="resume", trials=11)
    assert {one.result.search.evaluations for one in more.points} == {11}


def test_what_is_no_better_is_left_out(
    user_folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members.Member, "quality", property(lambda member: 0.5))
    (copy / "front.json").unlink()
    found = search(user_folder, out=copy, if_exists="resume")
    assert [one.limit for one in found.front.points] == ["macs=30%"]
    assert [one.limit for one in found.front.left_out] == ["macs=47.4%", "macs=75%"]
    assert sorted(path.name for path in copy.glob("point-*")) == ["point-1"]


def test_a_limit_at_which_nothing_was_found_is_left_out(
    user_folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed, winner = {"macs=30%"}, Inside.winner

    def misses(inside: Inside) -> Any:
        if inside.name.split()[-1] in missed:
            raise BudgetError("Nothing was inside.")
        return winner(inside)

    monkeypatch.setattr(Inside, "winner", misses)
    (copy / "front.json").unlink()
    found = search(user_folder, out=copy, if_exists="resume").front
    assert [(one.limit, one.reason) for one in found.left_out] == [
        ("macs=30%", "Nothing was inside.")
    ]
    assert [one.folder for one in found.points] == ["point-2", "point-3"]
    missed |= LIMITS.keys()
    (copy / "front.json").unlink()
    with pytest.raises(BudgetError, match="Nothing was inside"):
        search(user_folder, out=copy, if_exists="resume")


def test_a_sampler_that_has_no_more_ends_the_search(user_folder: Path, copy: Path) -> None:
    found = search(user_folder, out=copy, if_exists="overwrite", sampler="uniform", trials=60)
    assert found.front.points
    assert found.front.search.evaluations < 60


def test_what_cannot_be_searched_is_refused_before_anything_is_scored(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user_folder)
    with pytest.raises(
        BudgetError, match=r"The front macs=0.1%..75% begins too low. The budget .*"
    ):
        search(user_folder, out=tmp_path / "a", pareto="macs=0.1%..75%")
    with pytest.raises(ConfigError, match=r"needs as many trials at least\. Got 2"):
        search(user_folder, out=tmp_path / "b", trials=2)
    with pytest.raises(ConfigError, match="'cmaes' searches inside one budget"):
        search(user_folder, out=tmp_path / "c", sampler="cmaes")
    assert not list(tmp_path.glob("*/autoprune.db"))


def test_without_budget_or_front_there_is_nothing_to_search(user_folder: Path) -> None:
    with pytest.raises(ConfigError, match="Give a budget like 'macs=50%', or a front"):
        autoprune.search(net(user_folder), task=_task(user_folder))  # type: ignore[call-overload]
