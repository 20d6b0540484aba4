"""Whole searches under a limit on latency: measured, kept, resumed, and refused clearly."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import autoprune
from autoprune.agent import run
from autoprune.agent.housing.workspace import LATENCY, STUDY
from autoprune.agent.latency import gate
from autoprune.agent.latency import search as latency
from autoprune.agent.latency.search import TargetLatency
from autoprune.agent.preparing import pricing
from autoprune.agent.results.result import SearchResult
from autoprune.cli.main import main
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress
from autoprune.core.target import Target
from autoprune.cost.latency import meter
from autoprune.cost.latency.device import Device, this_device
from autoprune.cost.latency.runtimes import find_runtime
from autoprune.cost.latency.timing import compare
from autoprune.errors import BudgetError, ConfigError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.latencies import measured_targets

TARGET = "onnxruntime/threads=1"
COST = f"latency@{TARGET}"
SHARED = "shared.db"
RECOVERY = autoprune.Recovery(score_steps=1, recover_steps=2, finalists=1, calibration_batches=1)


@pytest.fixture(autouse=True, scope="module")
def _brief() -> Iterator[None]:
    """Few whole models are compared, for a moment only: nobody needs these numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "_PAIRS_S", 0.2)
        patch.setattr(latency, "VARIED", 4)
        patch.setattr(pricing, "NEAR", 2)
        patch.setattr(gate, "SECONDS", 2.0)
        yield


@pytest.fixture(scope="module")
def folder(user_folder: Path) -> Path:
    """Return the user's folder with a network that takes longer than starting it does."""
    text = (user_folder / "code.py").read_text()
    text = text.replace("net(width=8)", "net(width=48)").replace("12", "64")
    (user_folder / "code.py").write_text(text)
    return user_folder


def net(folder: Path) -> nn.Module:
    model: nn.Module = load_object("code.py:net", base=folder)()
    return model


def search(folder: Path, **changes: Any) -> SearchResult:
    given: dict[str, Any] = {
        "task": autoprune.Classification(load_object("code.py:loaders", base=folder)()),
        **{"budget": f"latency=80%@{TARGET}", "trials": 6, "onnx": False, "recovery": RECOVERY},
        **{"constructor": "code.py:net", "out": folder / "run", "database": folder / SHARED},
        **{"runner": f"file:{folder / 'runner.yaml'}", "progress": lambda event: None},
    }
    found: SearchResult = autoprune.search(net(folder), **given | changes)
    return found


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[SearchResult, list[Progress]]:
    """Return a finished search, and what it told meanwhile."""
    told: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return search(folder, progress=told.append), told


def proposals(out: Path) -> list[str]:
    with Database.open(sqlite_url(out / "autoprune.db")) as database:
        stored = database.find_run(STUDY)
        assert stored is not None
        found = database.evaluations(stored.id)
        return [e.policy.fingerprint for e in found if e.outcome != "recovered"]


def test_the_result_says_what_was_measured(first: tuple[SearchResult, Any]) -> None:
    content = json.loads((first[0].folder / "result.json").read_text())
    check = content["checks"]["latency"][TARGET]
    assert content["budget"] == {COST: "80%"}
    assert content["checks"]["budget_met"]
    assert check["low"] <= check["ratio"] <= check["high"]
    assert check["ratio"] <= 0.8
    assert check["pairs"] >= 12
    dense, pruned = (content[which]["latency_ms"][TARGET] for which in ("dense", "pruned"))
    assert (dense, pruned) == (check["dense_ms"], check["pruned_ms"])
    assert pruned / dense == pytest.approx(check["ratio"])
    assert content["pruned"]["macs"] < content["dense"]["macs"]


def test_the_budget_is_met_when_it_is_measured_again(
    first: tuple[SearchResult, Any], folder: Path
) -> None:
    target, inputs = Target.parse(TARGET), [torch.zeros(2, 1, 6, 6)]
    runtime = find_runtime(target)
    pruned = autoprune.load(first[0].folder, net(folder))
    with (
        runtime.open(net(folder), inputs, target) as one,
        runtime.open(pruned, inputs, target) as other,
    ):
        found = compare(one, other, limit_s=2.0)
    assert found.low <= 0.8


def test_the_way_to_the_tables_is_told(first: tuple[SearchResult, list[Progress]]) -> None:
    stages = list(dict.fromkeys(event.stage for event in first[1]))
    assert stages.index("latency") < stages.index("search")
    events = [event for event in first[1] if event.stage == "latency"]
    assert len(events) > 5
    assert all(event.total is None or event.done <= event.total for event in events)


def kept_by(folder: Path) -> Any:
    """Return what a run prices latency by."""
    with closing(Database.open(sqlite_url(folder / "autoprune.db"))) as database:
        run = database.find_run(STUDY)
        assert run is not None
        return run.kept[LATENCY]


def test_the_tables_are_kept_with_the_run_and_for_others(
    first: tuple[SearchResult, Any], folder: Path
) -> None:
    saved = kept_by(first[0].folder)
    device = this_device(Target.parse(TARGET))
    assert saved.keys() == {TARGET}
    assert saved[TARGET]["device"]["fingerprint"] == device.fingerprint
    assert saved[TARGET]["fit"]["models"] > 2
    assert len(saved[TARGET]["grids"]) == 3  # inner and outer share one
    with closing(Database.open(sqlite_url(folder / SHARED))) as database:
        counted = measured_targets(database)
    assert counted.keys() == {(device.fingerprint, TARGET)}
    assert min(counted.values()) > 20


class Stopped(Exception):
    """Stands for Ctrl-C."""


def stop_at(stage: str, done: int) -> Any:
    def stop(event: Progress) -> None:
        if (event.stage, event.done) == (stage, done):
            raise Stopped

    return stop


def test_a_resumed_run_measures_no_tables_and_proposes_what_it_would_have(
    first: tuple[SearchResult, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        search(folder, out=out, progress=stop_at("search", 3))
    assert not (out / "result.json").exists()
    kept = kept_by(out)
    begun = proposals(out)
    assert begun == proposals(first[0].folder)[:3], "the shared database gave the same tables"

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a resumed run measured tables")

    for name in ("find_steps", "build", "fit"):
        monkeypatch.setattr(TargetLatency, name, refused)
    again = search(folder, out=out, if_exists="resume", database=tmp_path / "other.db")
    assert kept_by(out) == kept
    assert proposals(out)[:6] == proposals(first[0].folder)[:6]
    assert again.result.checks.latency[TARGET].ratio <= 0.8


def test_a_finished_run_that_is_resumed_is_not_measured_again(
    first: tuple[SearchResult, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = {file: file.read_bytes() for file in first[0].folder.iterdir()}

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished run was measured again")

    monkeypatch.setattr(run, "prepare", refused)
    again = search(folder, if_exists="resume")
    assert again.result == first[0].result
    assert {file: file.read_bytes() for file in first[0].folder.iterdir()} == before


def test_a_run_is_not_resumed_on_another_device(
    first: tuple[SearchResult, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = (first[0].folder / "result.json").read_bytes()
    mine = this_device(Target.parse(TARGET))
    yours = Device({**mine.facts, "cpu": "Another"})
    monkeypatch.setattr("autoprune.agent.latency.search.this_device", lambda target: yours)
    with pytest.raises(ConfigError, match=r"another device.* differ in cpu\.") as caught:
        search(folder, if_exists="resume", trials=40)
    assert mine.fingerprint[:12] in str(caught.value)
    assert yours.fingerprint[:12] in str(caught.value)
    assert (first[0].folder / "result.json").read_bytes() == before


def test_several_limits_hold_together(
    first: tuple[SearchResult, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    budget = f"latency=90%@{TARGET},params=30%,macs=60%"
    result = search(folder, out=tmp_path / "run", budget=budget, trials=3).result
    assert result.pruned.params <= 0.3 * result.dense.params
    assert result.pruned.macs <= 0.6 * result.dense.macs
    assert result.checks.latency[TARGET].ratio <= 0.9


REFUSED: dict[str, tuple[type[Exception], str]] = {
    "latency=80%@onnxrutime": (ConfigError, r"runtime 'onnxrutime'\. Did you mean 'onnxruntime'"),
    "latency=80%@pytorch/dtype=int8": (ConfigError, r"'dtype' of a target must be one of"),
    "latency=80%@pytorch/thread=1": (ConfigError, r"Unknown option 'thread'.*threads"),
    "latency=8": (BudgetError, r"names what runs the model.*latency=8ms@onnxruntime"),
    "latency=8@onnxruntime": (BudgetError, r"A unit is missing.*%, us, ms, s"),
    "latency=8h@onnxruntime": (BudgetError, r"Unknown unit 'h'.*%, us, ms, s"),
}
if not torch.cuda.is_available():
    REFUSED["latency=80%@cuda"] = (ConfigError, r"needs an NVIDIA GPU.*choose another target")


@pytest.mark.parametrize("budget", REFUSED)
def test_what_cannot_be_measured_is_refused_and_leaves_nothing(
    budget: str, project: Path, tmp_path: Path
) -> None:
    kind, message = REFUSED[budget]
    with pytest.raises(kind, match=message):
        search(project, budget=budget, out=tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_limit_out_of_reach_names_the_smallest_that_can_be_reached(
    first: tuple[SearchResult, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    told = rf"latency=0\.000001ms@{TARGET}, but the smallest that can be reached is .* ms"
    with pytest.raises(BudgetError, match=told):
        search(folder, out=tmp_path / "run", budget=f"latency=0.001us@{TARGET}")


def test_the_command_line_says_it_in_one_paragraph(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["search", "search.yaml", "--budget", "latency=80%@onnxrutime", "--out", "new"]
    monkeypatch.setattr(sys, "argv", ["autoprune", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capfd.readouterr().err
    assert "Did you mean 'onnxruntime'" in told
    assert "Traceback" not in told


def test_the_lowest_latency_within_a_drop_is_measured_and_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any drop will do, so each limit holds; a resumed search measures none of them again."""
    monkeypatch.chdir(folder)
    asked = {"budget": None, "max_drop": 100, "minimise": COST, "out": tmp_path / "run"}
    result = search(folder, **asked, trials=4).result
    goal, ratio = result.goal, result.checks.latency[TARGET].ratio
    assert goal is not None
    held = [one.share for one in goal.limits if one.share is not None]
    assert ratio == min(held)
    assert float(result.budget[COST].rstrip("%")) / 100 >= ratio
    (tmp_path / "run" / "result.json").unlink()
    monkeypatch.setattr(gate.Gate, "measure", None)
    again = search(folder, **asked, trials=4, if_exists="resume").result
    assert again == result
