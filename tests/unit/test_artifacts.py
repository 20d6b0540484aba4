"""What a run leaves behind is read again exactly, or refused."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoprune.artifacts.architecture import Architecture, load
from autoprune.artifacts.constructor import Constructor
from autoprune.artifacts.example_inputs import InputSpec, empty_like
from autoprune.artifacts.files import PLAN, WEIGHTS, aside, sha256_of, whole, write_text
from autoprune.artifacts.result import SCHEMA_FILE, Result, schema_text
from autoprune.artifacts.weights import load_weights, save_weights
from autoprune.cost.model import CostModel
from autoprune.errors import ArtifactError, OutputError
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import outputs
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied
from autoprune.surgery.units import Cut

ATOMS: dict[str, Ids] = {"stem": np.array([0, 5]), "inner": np.array([1, 2, 3, 11])}
IMAGES = torch.linspace(-1, 1, 2 * 36).reshape(2, 1, 6, 6)
CODE = """
from torch import nn
def net(width=4):
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 3))
def function():
    return "no module"
"""


@pytest.fixture
def pruned(net: nn.Module, plan: Plan) -> nn.Module:
    return apply(net, plan, ATOMS)


@pytest.fixture
def folder(net: nn.Module, plan: Plan, pruned: nn.Module, tmp_path: Path) -> Path:
    """Return what a search wrote for a model whose constructor nobody knows."""
    sha256 = save_weights(pruned, tmp_path / WEIGHTS)
    Architecture.of(net, plan.cut(ATOMS), None, sha256).write(tmp_path)
    return tmp_path


@pytest.fixture
def fresh(net: nn.Module) -> Callable[[], nn.Module]:
    """Return what builds the architecture with other weights."""

    def build() -> nn.Module:
        for parameter in net.parameters():
            parameter.data.fill_(0.125)
        return net.train()

    return build


def equal(left: nn.Module, right: nn.Module) -> bool:
    return torch.equal(outputs(left, [IMAGES])[0], outputs(right, [IMAGES])[0])


# --- plan.json


def test_an_architecture_comes_back_as_it_was_written(net: nn.Module, plan: Plan) -> None:
    written = Architecture.of(net, plan.cut(ATOMS), {"target": "a:b", "args": {}}, "0" * 64)
    assert Architecture.model_validate_json(written.model_dump_json(by_alias=True)) == written
    assert written.dense_shapes["inner.weight"] == (12, 8, 3, 3)
    assert written.removed["inner.weight"] == {0: [1, 2, 3, 11], 1: [0, 5]}


def test_it_cuts_what_surgery_cuts(
    net: nn.Module, plan: Plan, cost: CostModel, pruned: nn.Module
) -> None:
    cut = Architecture.of(net, plan.cut(ATOMS), None, "0" * 64).cut(net)
    shapes = {name: tuple(tensor.shape) for name, tensor in cut.state_dict().items()}
    assert shapes == cost.shapes({"stem": 6, "inner": 8})
    assert equal(cut, pruned)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}'])
def test_a_plan_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / PLAN).write_text(text)
    with pytest.raises(ArtifactError, match=r"plan\.json is not what this version of autoprune"):
        load(folder)


@pytest.mark.parametrize("change", [{"schema": 2}, {"extra": 1}, {"removed": {"x": {"a": [1]}}}])
def test_a_plan_of_another_form_is_refused(folder: Path, change: dict[str, Any]) -> None:
    content = json.loads((folder / PLAN).read_text())
    (folder / PLAN).write_text(json.dumps(content | change))
    with pytest.raises(ArtifactError, match=r"plan\.json is not what this version") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [".", "missing", WEIGHTS])
def test_a_folder_without_a_result_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / WEIGHTS).write_text("no folder")
    with pytest.raises(ArtifactError, match=r"holds no result: plan\.json cannot be read"):
        load(tmp_path / place)


# --- load


def test_a_model_or_what_builds_it_gives_the_pruned_model(
    folder: Path, pruned: nn.Module, fresh: Callable[[], nn.Module]
) -> None:
    built = fresh()
    for given in (built, fresh):
        again = load(str(folder), given)
        assert equal(again, pruned)
        assert not any(module.training for module in again.modules())
    assert built.training
    assert built.get_parameter("stem.weight").shape == (8, 1, 3, 3)
    assert (built.get_parameter("stem.weight") == 0.125).all()


def test_a_recorded_constructor_needs_no_model(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "run").mkdir()
    constructor = Constructor(target="code.py:net", args={"width": 6}, base=tmp_path)
    dense, run = constructor.build(), tmp_path / "run"
    removed = {"0.weight": {0: [1]}, "0.bias": {0: [1]}, "2.weight": {1: [1]}}
    gone = {t: {d: np.array(p) for d, p in dims.items()} for t, dims in removed.items()}
    record = constructor.to_dict(run)
    cut = Architecture.of(dense, Cut(gone), record, "").cut(dense)
    sha256 = save_weights(cut, run / WEIGHTS)
    Architecture.of(dense, Cut(gone), record, sha256).write(run)
    again = load(run)
    x = torch.rand(3, 2)
    assert torch.equal(outputs(again, [x])[0], outputs(cut, [x])[0])
    assert again.get_parameter("0.weight").shape == (5, 2)
    (tmp_path / "code.py").unlink()
    assert torch.equal(outputs(load(run, dense), [x])[0], outputs(cut, [x])[0])
    with pytest.raises(ArtifactError, match=r"no file.*autoprune\.load\(FOLDER, model=MODEL\)"):
        load(run)


def test_without_a_constructor_a_model_is_asked_for(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"Give the dense model: .*model=\.\.\."):
        load(folder)


@pytest.mark.parametrize("attribute", ["stem", "norm", "inner_norm", "head"])
def test_another_architecture_is_refused(folder: Path, net: nn.Module, attribute: str) -> None:
    others = {
        "stem": nn.Conv2d(1, 9, 3, padding=1, bias=False),
        "norm": nn.Identity(),
        "inner_norm": nn.BatchNorm2d(12, affine=False),
        "head": nn.Linear(8, 4),
    }
    setattr(net, attribute, others[attribute])
    with pytest.raises(ArtifactError, match=rf"another model .*'{attribute}.*same arguments"):
        load(folder, net)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sparse": ["nope.weight"]}, "keeps zeros of 'nope.weight', which the model does not"),
        ({"passed": ["nope"]}, "passes over the module 'nope'"),
        ({"passed": [""]}, "passes over the module ''"),
        ({"inputs": [{"shape": [-1, 3, 8, 8], "dtype": "float32"}]}, "is not what this version"),
    ],
)
def test_a_plan_that_names_what_is_not_there_is_refused(
    folder: Path, net: nn.Module, change: dict[str, Any], said: str
) -> None:
    plan = json.loads((folder / PLAN).read_text())
    (folder / PLAN).write_text(json.dumps(plan | change))
    with pytest.raises(ArtifactError, match=said):
        load(folder, net)


def test_inputs_that_no_memory_holds_are_told() -> None:
    with pytest.raises(ArtifactError, match="too large"):
        empty_like((InputSpec(shape=(2, 3, 10**6, 10**9), dtype="float32"),))


@pytest.mark.parametrize("built", [None, "text", 3])
def test_what_builds_no_model_is_told(folder: Path, built: Any) -> None:
    with pytest.raises(ArtifactError, match=rf"must be the dense model or .* Got {built!r}"):
        load(folder, lambda: built)


# --- weights


def test_weights_come_back_bit_for_bit(pruned: nn.Module, folder: Path) -> None:
    stored = load_file(folder / WEIGHTS)
    assert stored.keys() == pruned.state_dict().keys()
    assert all(torch.equal(stored[n], tensor) for n, tensor in pruned.state_dict().items())
    assert not list(folder.glob("*.partial"))


class Versioned(nn.Linear):
    """Refuses, as MNASNet does, what does not say which version wrote it."""

    _version = 2

    def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
        if meta.get("version") != 2:
            raise ValueError(f"version should be 2 instead of {meta.get('version')}")
        super()._load_from_state_dict(state, prefix, meta, *rest)


def test_who_may_read_weights_is_who_may_read_any_new_file(folder: Path) -> None:
    other = folder / "other"
    other.touch()
    assert (folder / WEIGHTS).stat().st_mode == other.stat().st_mode


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as where a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_weights_that_there_is_no_room_for_leave_the_old_ones_and_nothing_else(
    pruned: nn.Module, folder: Path
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputError, match=r"weights\.safetensors cannot be written: .*room"):
        with no_room(100):
            save_weights(pruned, folder / WEIGHTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(OutputError, match=r"gone/weights cannot be written: No such file"):
        save_weights(pruned, folder / "gone" / "weights")


def test_a_place_aside_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with aside(tmp_path, "verdict") as place:
        (place / "file").write_text("content")
        assert place.parent == tmp_path
        assert place.match(".verdict-*.partial"), "a search that goes on takes it away"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match=r"cannot be written: File too large.*resume"):
        with aside(tmp_path, "verdict") as place, no_room(100):
            (place / "file").write_bytes(bytes(1000))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="gone cannot be written: No such file"):
        with aside(tmp_path / "gone", "verdict"):
            raise AssertionError("there is no such folder")
    with pytest.raises(OutputError, match=r"^as it was told$"):
        with aside(tmp_path, "verdict"):
            raise OutputError("as it was told")


def test_modules_are_told_the_version_of_their_weights(tmp_path: Path) -> None:
    one, other = Versioned(2, 2), Versioned(2, 2)
    load_weights(other, tmp_path / "weights", save_weights(one, tmp_path / "weights"))
    assert torch.equal(other.weight, one.weight)


def test_missing_weights_are_told(folder: Path, net: nn.Module) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ArtifactError, match=r"weights\.safetensors are missing.* resume"):
        load(folder, net)


def test_altered_weights_are_refused(folder: Path, net: nn.Module) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match="were altered: their SHA-256 is not the recorded"):
        load(folder, net)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.bias": None}, r"Missing: \['head.bias'\]; not in the model: \[\]"),
        ({"more": torch.zeros(1)}, r"Missing: \[\]; not in the model: \['more'\]"),
        ({"head.bias": torch.zeros(5)}, "do not fit the model: .*size mismatch for head.bias"),
    ],
)
def test_weights_of_another_model_are_refused(
    folder: Path, pruned: nn.Module, change: dict[str, Tensor | None], message: str
) -> None:
    tensors = load_file(folder / WEIGHTS) | change
    save_file({n: t for n, t in tensors.items() if t is not None}, folder / "other")
    with pytest.raises(ArtifactError, match=message) as caught:
        load_weights(pruned, folder / "other", sha256_of(folder / "other"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused(pruned: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("not weights")
    with pytest.raises(ArtifactError, match="odd do not fit the model"):
        load_weights(pruned, tmp_path / "odd", sha256_of(tmp_path / "odd"))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


def test_tied_weights_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    model, again = Tied(), Tied()
    sha256 = save_weights(model, tmp_path / "tied")
    assert load_file(tmp_path / "tied").keys() == {"first.weight", "first.bias", "second.bias"}
    load_weights(again, tmp_path / "tied", sha256)
    x = torch.rand(2, 3)
    assert torch.equal(again(x), model(x))
    assert again.first.weight is again.second.weight


class Viewed(nn.Module):
    """Holds a buffer twice, in two shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(3))
        self.register_buffer("shift", self.get_buffer("mean").view(3, 1, 1))


def test_buffers_that_are_views_of_each_other_are_written_like_any_others(tmp_path: Path) -> None:
    model, again = copied(Viewed()), Viewed()
    load_weights(again, tmp_path / "viewed", save_weights(model, tmp_path / "viewed"))
    assert torch.equal(again.get_buffer("mean"), model.get_buffer("mean"))
    assert torch.equal(again.get_buffer("shift"), model.get_buffer("shift"))


# --- files


def test_a_sum_is_the_one_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "a") == expected


def test_ctrl_c_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "old")

    def interrupted() -> None:
        with whole(tmp_path / "a.json") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_two_who_write_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    with whole(tmp_path / "a.json") as one:
        one.write_text("one")
        write_text(tmp_path / "a.json", "two")
        assert one.match(".*.partial"), "a search that goes on takes it away"
    assert (tmp_path / "a.json").read_text() == "one"


def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.json", "old")

    def crash(source: Path, target: Path) -> None:
        assert Path(source).read_text() == "new"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
    write_text(tmp_path / "a.json", "new")
    assert os.listdir(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "new"


# --- result.json

MEASURED = {
    "quality_search": 0.9,
    "quality_test": 0.8,
    "macs": 4,
    "params": 5,
    "size_bytes": 6,
    "memory_bytes": 7,
    "sparse_macs": 4,
    "sparse_size_bytes": 4,
    "latency_ms": {},
    "parts": {},
}
RESULT = {
    "schema": 1,
    **{"task": "classification", "metric": "top-1", "dense": MEASURED, "pruned": MEASURED},
    "policy": {"u": {"method": "channel.l1", "sparsity": 0.5}},
    "cuts": [{"unit": "u", "atoms": 2, "kept": 1, "method": "channel.l1", "macs_saved": 3}],
    "budget": {"macs": "50%"},
    "search": {
        **{"evaluations": 7, "sample_forwards": 1.0, "seconds": 1.0, "seed": 0},
        **{"sampler": "budgeted", "sensitivity_forwards": 0.0, "stopped": 1, "reused": 0},
        "predictions": {
            **{"count": 3, "spearman": 0.5, "coverage": 1.0, "ranked": 2, "spared": 4},
            **{"audited": 1, "wrong": 0, "wrong_at_most": 0.95},
        },
        "warm_start": 9,
        "rollback": {
            **{"examined": 5, "reverted": 2, "together": 1},
            **{"quality_regained": 0.01, "sample_forwards": 50.0},
        },
    },
    "checks": {
        **{"sliced_equals_masked": True, "budget_met": True},
        **{"reload_max_diff": 0.0, "onnx_max_diff": None, "onnx_sha256": None, "latency": {}},
    },
    "goal": {
        **{"max_drop": 1.0, "minimise": "macs", "drop_search": 0.5, "drop_test": 1.25},
        **{"standard_error": None, "ended": "narrow", "trials": 9},
        "limits": [
            {
                **{"limit": "macs=40%", "within": True, "drop": 0.5, "share": 0.4},
                **{"evaluations": 7, "reason": ""},
            }
        ],
    },
    "steps": [
        {
            **{"training_steps": 20, "used": {"macs": 0.4}, "quality_search": None},
            **{"attempts": 2, "outcome": "trained"},
        }
    ],
    "versions": {"torch": "2"},
    "uncounted": [],
    "higher_is_better": True,
    "is_share": False,
    "undone": None,
}


def test_a_result_comes_back_as_it_was_written() -> None:
    result = Result.model_validate(RESULT)
    assert json.loads(result.to_json()) == RESULT
    assert Result.model_validate_json(result.to_json()) == result
    costs = result.dense.costs
    assert (costs.macs, costs.params, costs.size) == (4, 5, 6)


def test_a_result_that_does_not_say_what_its_metric_is_holds_a_share() -> None:
    """Earlier versions wrote such."""
    told = {name: value for name, value in RESULT.items() if name != "is_share"}
    assert Result.model_validate(told).yardstick.is_share
    assert not Result.model_validate(RESULT).yardstick.is_share


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"more": 1},
        {"policy": {"u": {}}},
        {"policy": {"u": {"method": "channel.l1", "sparsity": 7.0}}},
        {"budget": {"latency@pytorch": "50%"}},
        {"dense": MEASURED | {"parts": {"macs@visual": 2}}},
    ],
)
def test_a_result_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Result.model_validate(RESULT | change)


def test_the_shipped_schema_is_the_one_of_the_code() -> None:
    """Write it anew with ``python -m autoprune.artifacts.result``."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
