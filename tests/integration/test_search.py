"""Whole searches on a small network: what they write, repeat, survive and refuse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

import autoprune
from autoprune.agent import run
from autoprune.agent.housing.workspace import STUDY
from autoprune.agent.results import verify
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.constructor import Constructor
from autoprune.artifacts.files import sha256_of
from autoprune.artifacts.result import SCHEMA_FILE, Result
from autoprune.core.costs import Costs
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress
from autoprune.cost.count import count_costs
from autoprune.errors import (
    ArtifactError,
    ConfigError,
    ModelError,
    RunExistsError,
    VerificationError,
)
from autoprune.evaluation.measuring.measure import measure
from autoprune.formats.onnx import run_onnx
from autoprune.space.schema import SearchSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from autoprune.surgery.compare import outputs

RECOVERY = autoprune.Recovery(score_steps=4, recover_steps=12, finalists=2, calibration_batches=2)
DENSE_MACS = 36 * 9 * (8 + 2 * 8 * 12) + 3 * 8
BOTH = ("search", "test")


def dense_of(project: Path) -> nn.Module:
    model: nn.Module = load_object("code.py:net", base=project)()
    return model


def task_of(project: Path) -> autoprune.Classification:
    return autoprune.Classification(load_object("code.py:loaders", base=project)())


def search(project: Path, model: nn.Module | None = None, **changes: Any) -> SearchResult:
    given: dict[str, Any] = {
        **{"task": task_of(project), "budget": "macs=50%", "trials": 6, "onnx": False},
        **{"recovery": RECOVERY, "constructor": "code.py:net", "out": project / "run"},
        **{"runner": f"file:{project / 'runner.yaml'}", "progress": lambda event: None},
    }
    found: SearchResult = autoprune.search(model or dense_of(project), **given | changes)
    return found


def scored(folder: Path) -> list[Evaluation]:
    with Database.open(sqlite_url(folder / "autoprune.db")) as database:
        stored = database.find_run(STUDY)
        assert stored is not None
        found = database.evaluations(stored.id)
    return [e for e in found if not e.outcome.startswith(("recovered", "outrun"))]


def timeless(result: Result) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result.to_json())
    assert content["search"].pop("seconds") > 0
    return content


def result_files(folder: Path) -> dict[str, bytes]:
    names = ("result.json", "policy.json", "plan.json", "weights.safetensors", "model.onnx")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def same_outputs(left: nn.Module, right: nn.Module) -> bool:
    x = [torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(5))]
    return torch.equal(outputs(left, x)[0], outputs(right, x)[0])


@pytest.fixture(scope="module")
def first(user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """Return a finished search with everything switched on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        return search(user_folder, onnx=True, out=tmp_path_factory.mktemp("first") / "run")


# --- what is written


def test_the_folder_is_complete_and_holds_nothing_half_done(first: SearchResult) -> None:
    names = {path.name for path in first.folder.iterdir() if not path.name.startswith("finalist-")}
    assert names - {"run.lock"} == {
        *("run.json", "autoprune.db", "result.json", "policy.json", "plan.json"),
        *("weights.safetensors", "model.onnx", "report.md", "report.html"),
    }
    assert len(list(first.folder.glob("finalist-*.safetensors"))) == 1, "the other was outrun"


def test_the_written_result_is_the_returned_one(first: SearchResult) -> None:
    text = (first.folder / "result.json").read_text()
    assert text == first.result.to_json()
    policy = autoprune.Policy.from_json((first.folder / "policy.json").read_text())
    assert policy == first.policy
    assert json.loads(text)["policy"] == policy.to_dict()


@pytest.mark.parametrize(
    "schema",
    [json.loads(SCHEMA_FILE.read_text()), Result.model_json_schema(by_alias=True)],
    ids=["shipped", "of the class"],
)
def test_the_written_result_follows_its_schema(first: SearchResult, schema: Any) -> None:
    content = json.loads((first.folder / "result.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(content)
    assert not validator.is_valid(content | {"schema": 2})
    assert not validator.is_valid(content | {"more": 1})


def test_the_budget_is_met_when_somebody_else_counts(first: SearchResult) -> None:
    model, result = autoprune.load(first.folder), first.result
    x = torch.zeros(2, 1, 6, 6)
    stem, inner = (model.get_parameter(f"{name}.weight").shape[0] for name in ("stem", "inner"))
    macs = 36 * 9 * (stem + 2 * stem * inner) + 3 * stem
    assert result.pruned.macs == macs == count_costs(model, [x], 2).macs
    assert macs <= DENSE_MACS / 2
    assert result.dense.macs == DENSE_MACS
    assert result.pruned.params == sum(p.numel() for p in model.parameters())
    assert result.pruned.size_bytes == (first.folder / "weights.safetensors").stat().st_size
    assert {cut.unit: (cut.atoms, cut.kept) for cut in result.cuts} == {
        "stem": (8, stem),
        "inner": (12, inner),
    }
    for cut in result.cuts:
        choice = first.policy.get(cut.unit)
        assert cut.method == (choice.method if choice else None)
        assert cut.kept == round(cut.atoms * (1 - (choice.sparsity if choice else 0)))


def test_the_qualities_are_those_of_the_models(first: SearchResult, project: Path) -> None:
    task = task_of(project)
    pairs = [(first.result.dense, dense_of(project)), (first.result.pruned, first.model)]
    for measured, model in pairs:
        found = [measure(model, task, split, "cpu").quality for split in ("search", "test")]
        assert found == pytest.approx([measured.quality_search, measured.quality_test])


def test_loading_gives_the_same_model(first: SearchResult, project: Path) -> None:
    assert not first.model.training
    again = autoprune.load(first.folder)
    assert not again.training
    assert same_outputs(again, first.model)
    assert same_outputs(autoprune.load(first.folder, dense_of(project)), first.model)
    assert same_outputs(autoprune.load(first.folder, lambda: dense_of(project)), first.model)


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_the_onnx_file_runs_with_any_batch_size(first: SearchResult, samples: int) -> None:
    x = torch.randn(samples, 1, 6, 6, generator=torch.Generator().manual_seed(samples))
    (found,) = run_onnx(first.folder / "model.onnx", [x])
    torch.testing.assert_close(found, outputs(first.model, [x])[0], atol=1e-4, rtol=1e-4)


def test_the_checks_are_all_passed(first: SearchResult) -> None:
    checks = first.result.checks
    assert checks.sliced_equals_masked
    assert checks.budget_met
    assert checks.reload_max_diff == 0
    assert checks.onnx_max_diff is not None
    assert checks.onnx_max_diff < 1e-4


def test_the_report_is_there_for_people(first: SearchResult) -> None:
    report = (first.folder / "report.md").read_text()
    quality = f"{100 * first.result.pruned.quality_test:.2f}%"
    for part in (quality, "| macs | 50% ", "| stem |", "6 evaluations"):
        assert part in report


def test_the_cost_of_the_search_is_told(first: SearchResult) -> None:
    assert first.result.search.evaluations == 6 == len(scored(first.folder))
    assert first.result.search.seed == 0
    # ranking atoms takes gradients on two batches of 16, three forwards each
    stored = sum(e.sample_forwards for e in scored(first.folder))
    assert first.result.search.sample_forwards > stored + 3 * 32
    assert first.result.versions["torch"] == torch.__version__.partition("+")[0]


def test_the_users_model_and_random_numbers_stay_as_they_are(project: Path) -> None:
    model = dense_of(project).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    numbers = torch.get_rng_state()
    search(project, model)
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), numbers)


# --- repeated


def test_the_same_seed_gives_the_same_run(project: Path) -> None:
    found = []
    for out in ("one", "two"):
        torch.rand(3)  # what happened before does not matter
        found.append(search(project, out=project / out, database=project / f"{out}.db"))
    first, second = found
    assert timeless(first.result) == timeless(second.result)
    assert same_outputs(first.model, second.model)
    assert sha256_of(project / "one/weights.safetensors") == sha256_of(
        project / "two/weights.safetensors"
    )
    one, two = scored(project / "one"), scored(project / "two")
    assert [(e.policy, e.loss, e.quality) for e in one] == [
        (e.policy, e.loss, e.quality) for e in two
    ]
    other = search(project, out=project / "three", seed=1)
    assert [e.loss for e in scored(other.folder)] != [e.loss for e in one]


def test_more_trials_on_resume_go_on(project: Path) -> None:
    search(project, trials=4)
    before = scored(project / "run")
    events: list[Progress] = []
    more = search(project, trials=7, if_exists="resume", progress=events.append)
    after = scored(project / "run")
    assert after[:4] == before
    assert [event.note for event in events if "dense model: top-1 " in str(event.note)]
    assert len(after) == more.result.search.evaluations == 7
    assert [event.done for event in events if event.stage == "search"] == [4, 5, 6, 7]
    alone: dict[str, Any] = {"out": project / "straight", "database": project / "other.db"}
    straight = search(project, trials=7, **alone)
    one, two = timeless(straight.result), timeless(more.result)
    # a finalist that won with 4 trials was trained to the end, and that was paid
    assert one["search"].pop("sample_forwards") <= two["search"].pop("sample_forwards")
    assert one == two


def test_a_finished_run_that_is_resumed_gives_the_same_result(project: Path) -> None:
    first = search(project)
    before, evaluations = result_files(project / "run"), scored(project / "run")
    report = (project / "run" / "report.md").stat()
    events: list[Progress] = []
    again = search(project, if_exists="resume", progress=events.append)
    assert again.result == first.result
    assert again.policy == first.policy
    assert same_outputs(again.model, first.model)
    assert result_files(project / "run") == before
    assert (project / "run" / "report.md").stat().st_mtime_ns == report.st_mtime_ns
    assert scored(project / "run") == evaluations
    assert "the run was finished before" in str(events[-1].note)
    assert not [event for event in events if event.stage in ("search", "recover")]


def broken(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"")


def gone(folder: Path) -> None:
    (folder / "policy.json").unlink()


@pytest.mark.parametrize("spoil", [broken, gone])
def test_a_finished_run_whose_files_were_altered_makes_them_again(
    project: Path, spoil: Callable[[Path], None]
) -> None:
    search(project)
    before = result_files(project / "run")
    spoil(project / "run")
    search(project, if_exists="resume")
    assert result_files(project / "run") == before


def test_a_result_of_fewer_trials_is_not_taken_for_the_one_asked_for(project: Path) -> None:
    """A resumed run was killed early: its settings are new, its result is the old one."""
    search(project, trials=3)
    settings = project / "run" / "run.json"
    settings.write_text(settings.read_text().replace('"trials": 3', '"trials": 5'))
    assert search(project, trials=5, if_exists="resume").result.search.evaluations == 5


def test_onnx_that_was_not_asked_for_before_is_written(project: Path) -> None:
    search(project, trials=2)
    assert not (project / "run" / "model.onnx").exists()
    found = search(project, trials=2, onnx=True, if_exists="resume")
    assert found.result.checks.onnx_max_diff is not None
    assert (project / "run" / "model.onnx").exists()
    assert found.result.versions["onnxruntime"] == onnxruntime.__version__


def test_an_onnx_file_that_was_damaged_is_written_again(project: Path) -> None:
    found = search(project, trials=2, onnx=True)
    file, result = project / "run" / "model.onnx", project / "run" / "result.json"
    assert found.result.checks.onnx_sha256 == sha256_of(file)
    whole, content = file.read_bytes(), json.loads(result.read_text())
    file.write_bytes(whole[:-9])
    search(project, trials=2, onnx=True, if_exists="resume")
    assert file.read_bytes() == whole

    del content["checks"]["onnx_sha256"]  # as an earlier version wrote it
    result.write_text(json.dumps(content))
    again = search(project, trials=2, onnx=True, if_exists="resume")
    assert again.result.checks.onnx_sha256 is None
    assert json.loads(result.read_text()) == content


def test_an_onnx_file_that_somebody_exported_anew_is_no_damaged_one(project: Path) -> None:
    search(project, trials=2, onnx=True)
    file = project / "run" / "model.onnx"
    found = autoprune.export(project / "run", "onnx", opset=21, if_exists="overwrite")
    again = search(project, trials=2, onnx=True, if_exists="resume")
    assert again.result.checks.onnx_sha256 == found.sha256 == sha256_of(file)
    assert onnx.load(file).opset_import[0].version == 21


def test_what_is_kept_is_counted(project: Path) -> None:
    assert run.kept_evaluations(project / "run") == 0
    assert not (project / "run").exists()
    found = search(project, trials=2)
    assert run.kept_evaluations(project / "run") == len(scored(project / "run")) == 2
    assert "onnxruntime" not in found.result.versions, "it ran nothing"


def test_an_existing_run_is_not_touched_unasked(project: Path, first: SearchResult) -> None:
    shutil.copytree(first.folder, project / "run", dirs_exist_ok=True)
    before = result_files(project / "run")
    with pytest.raises(RunExistsError, match="--if-exists resume"):
        search(project, onnx=True)
    with pytest.raises(RunExistsError, match="seed: 0 -> 1"):
        search(project, onnx=True, if_exists="resume", seed=1)
    wider = load_object("code.py:net", base=project)(width=9)
    with pytest.raises(RunExistsError, match="model: "):
        search(project, wider, onnx=True, if_exists="resume", constructor=None)
    assert result_files(project / "run") == before


# --- candidates that fail

ODD = "self.training and self.stem.weight.shape[0] < 8 and self.inner.weight.shape[0] == 12"
FAILURES = {"raises": "raise AssertionError('picky')", "NaN": "x = x * float('nan')"}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_candidate_that_fails_does_not_end_the_search(project: Path, kind: str) -> None:
    """Let candidates fail in training that have a smaller stem, but the whole inner layer."""
    code = (project / "code.py").read_text()
    line = "    def forward(self, x):\n"
    guarded = f"{line}        if {ODD}:\n            {FAILURES[kind]}\n"
    (project / "code.py").write_text(code.replace(line, guarded))
    space = SearchSpace.model_validate({"methods": ["channel.l1"], "sparsities": [0.5, 0.75]})
    found = search(project, space=space, trials=4)
    outcomes = [e.outcome for e in scored(project / "run")]
    failed = [outcome for outcome in outcomes if outcome.startswith("failed: ")]
    assert 0 < len(failed) < len(outcomes)
    assert ("picky" if kind == "raises" else "training loss became nan") in failed[0]
    assert found.result.search.evaluations == len(outcomes)
    assert {cut.unit: cut.kept for cut in found.result.cuts}["inner"] < 12


def test_where_all_candidates_fail_the_user_is_told(project: Path) -> None:
    wild = autoprune.Recovery(learning_rate=1e9, score_steps=9)
    with pytest.raises(ModelError, match=r"None of 6 .*loss .* is nan.*recovery\.learning_rate"):
        search(project, recovery=wild)
    assert not (project / "run" / "result.json").exists()


# --- results that fail a check


def over_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = Costs(macs=DENSE_MACS, params=1, size=1, memory=1, sparse_macs=1, sparse_size=1)
    monkeypatch.setattr(verify, "count_costs", lambda *args: dense)


def other_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "difference", lambda left, right: 0.5)


def not_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "sliced_equals_masked", lambda *args: 0.5)


def no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "difference", lambda left, right: float("nan"))


BREAKS = [
    (over_budget, "over the budget"),
    (other_outputs, r"reloading changes outputs by 5\.0e-01"),
    (not_masked, "the sliced model differs from the masked one"),
    (no_number, "reloading changes outputs by nan"),
]


@pytest.mark.parametrize(("spoil", "message"), BREAKS)
def test_a_winner_that_fails_a_check_is_not_written(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch], None],
    message: str,
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch)
        with pytest.raises(VerificationError, match=message):
            search(project)
    left = {path.name for path in (project / "run").iterdir()}
    assert not left & {"result.json", "policy.json", "plan.json", "weights.safetensors"}
    assert not [name for name in left if name.endswith(".partial")]
    before = scored(project / "run")
    assert len(before) == 6
    search(project, if_exists="resume")
    assert scored(project / "run") == before


def test_an_earlier_result_outlives_a_failed_check(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(project, trials=3)
    before = result_files(project / "run")
    other_outputs(monkeypatch)
    with pytest.raises(VerificationError):
        search(project, trials=6, if_exists="resume")
    assert result_files(project / "run") == before
    autoprune.load(project / "run")


# --- limits of a search


def test_without_time_there_is_still_one_evaluation(project: Path) -> None:
    found = search(project, timeout=0)
    assert found.result.search.evaluations == len(scored(project / "run")) == 1
    assert found.result.checks.budget_met


def test_a_space_that_is_used_up_ends_quietly(project: Path) -> None:
    given = {"methods": ["channel.l1"], "sparsities": [0.5], "protect": ["inner"]}
    found = search(project, space=SearchSpace.model_validate(given), trials=50)
    assert found.result.search.evaluations == len(scored(project / "run")) == 1
    assert found.policy.to_dict() == {"stem": {"method": "channel.l1", "sparsity": 0.5}}


def test_several_limits_hold_together(project: Path) -> None:
    found = search(project, budget={"macs": "70%", "params": "40%", "size": 5000})
    pruned, dense = found.result.pruned, found.result.dense
    assert pruned.macs <= 0.7 * dense.macs
    assert pruned.params <= 0.4 * dense.params
    assert pruned.size_bytes <= 5000


# --- arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1. Got 0"),
        ({"trials": 2.5}, "trials must be a whole number"),
        ({"trials": True}, "Got True"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": "1"}, "Got '1'"),
        ({"timeout": -1}, "timeout must be a number of at least 0"),
        ({"timeout": float("nan")}, "Got nan"),
        ({"timeout": "1h"}, "Got '1h'"),
        ({"if_exists": "ask"}, "if_exists must be one of"),
        ({"space": "defualt"}, "'defualt'. Did you mean 'default'"),
        ({"runner": "lokal"}, "Did you mean 'local'"),
    ],
)
def test_arguments_that_cannot_be_used(
    project: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(project, **changes)
    assert not (project / "run").exists()


def test_a_constructor_of_another_model_is_told_before_the_search(project: Path) -> None:
    events: list[Progress] = []
    constructor = Constructor(target="code.py:net", args={"width": 9}, base=project)
    with pytest.raises(ArtifactError, match="builds another model"):
        search(project, constructor=constructor, progress=events.append)
    assert events == []
