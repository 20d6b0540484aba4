"""A result folder is exported whole and right, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import autoprune
from autoprune.artifacts import comparison, export_folder
from autoprune.artifacts import files as artifact_files
from autoprune.artifacts.architecture import Architecture
from autoprune.artifacts.constructor import Constructor
from autoprune.artifacts.example_inputs import empty_like, random_like, specs_of
from autoprune.artifacts.files import PLAN, WEIGHTS, sha256_of
from autoprune.artifacts.weights import save_weights
from autoprune.errors import (
    ArtifactError,
    ConfigError,
    InputError,
    ModelError,
    OutputError,
    RunExistsError,
    VerificationError,
)
from autoprune.formats.onnx import run_onnx
from autoprune.surgery.compare import difference, outputs, randomised
from autoprune.surgery.units import Cut

CODE = """
from torch import nn
def net(width=6):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.BatchNorm2d(width)
    )
"""
IMAGES = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(3))
SUFFIXES = {"onnx": "model.onnx", "torch-export": "model.pt2", "safetensors": WEIGHTS}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return what a search that cut nothing leaves, in the folder ``run``."""
    (tmp_path / "code.py").write_text(CODE)
    return written(tmp_path, specs_of([IMAGES]))


def written(place: Path, inputs: Any) -> Path:
    folder = place / "run"
    folder.mkdir(exist_ok=True)
    constructor = Constructor(target="code.py:net", base=place)
    model = randomised(constructor.build(), torch.Generator().manual_seed(0))
    sha256 = save_weights(model, folder / WEIGHTS)
    recorded = constructor.to_dict(folder)
    Architecture.of(model, Cut(), recorded, sha256, inputs=inputs).write(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_onnx_file_says_what_it_is_and_takes_any_batch(run: Path) -> None:
    found = autoprune.export(run, "onnx")
    assert found.file == run / "model.onnx"
    assert (found.bytes, found.sha256) == (found.file.stat().st_size, sha256_of(found.file))
    assert found.batch_norms == (2, 1)
    assert found.max_diff < 1e-5
    proto = onnx.load(found.file)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == found.opset
    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        "autoprune.version": autoprune.__version__,
        "weights.sha256": sha256_of(run / WEIGHTS),
    }
    assert str(Path(__file__).parents[2]).encode() not in found.file.read_bytes()
    for samples in (1, 5):
        x = [IMAGES[:samples]]
        model = autoprune.load(run)
        assert difference(run_onnx(found.file, x), outputs(model, x)) < 1e-5


def test_the_operators_may_be_older_or_newer(run: Path) -> None:
    for opset in (17, 21):
        found = autoprune.export(run, "onnx", opset=opset, if_exists="overwrite")
        assert found.opset == opset
        assert onnx.load(found.file).opset_import[0].version == opset


def test_a_pt2_is_loaded_with_pytorch_alone(run: Path, tmp_path: Path) -> None:
    found = autoprune.export(run, "torch-export", out=tmp_path / "a b.pt2")
    assert (found.file, found.opset) == (tmp_path / "a b.pt2", None)
    assert found.batch_norms == (2, 1)
    extra = {"autoprune.json": ""}
    program = torch.export.load(found.file, extra_files=extra).module()
    assert json.loads(extra["autoprune.json"])["weights.sha256"] == sha256_of(run / WEIGHTS)
    for samples in (1, 3):
        x = IMAGES[:samples]
        with torch.no_grad():
            assert difference([program(x)], outputs(autoprune.load(run), [x])) < 1e-5


def test_a_pt2_is_the_same_file_each_time(run: Path, tmp_path: Path) -> None:
    first, again = (
        autoprune.export(run, "torch-export", out=tmp_path / name) for name in ("a.pt2", "b.pt2")
    )
    assert first.sha256 == again.sha256


def test_what_builds_the_model_may_be_an_import_string(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "code.py").rename(tmp_path / "elsewhere" / "moved.py")
    monkeypatch.chdir(tmp_path)
    loaded = autoprune.load(run, model="elsewhere/moved.py:net")
    assert not loaded.training
    found = autoprune.export(run, "safetensors", out=tmp_path, model="elsewhere/moved.py:net")
    assert load_file(found.file).keys() == loaded.state_dict().keys()
    for odd in ("elsewhere/moved.py", "gone.py:net"):
        with pytest.raises(ModelError, match=r"^model"):
            autoprune.load(run, model=odd)


def test_a_copy_loads_from_where_it_lies(run: Path, tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    found = autoprune.export(run, "safetensors", out=tmp_path / "far" / "away")
    assert found.file == tmp_path / "far" / "away" / WEIGHTS
    assert found.max_diff == 0
    assert (found.opset, found.batch_norms) == (None, None)
    again = autoprune.load(found.file.parent)
    assert load_file(found.file).keys() == again.state_dict().keys()
    assert torch.equal(
        outputs(again, [IMAGES])[0],
        outputs(autoprune.load(run), [IMAGES])[0],
    )
    once_more = autoprune.export(found.file.parent, "onnx")
    assert once_more.max_diff < 1e-5


def test_the_summary_is_plain_json(run: Path) -> None:
    content = json.loads(json.dumps(autoprune.export(run, "onnx").to_dict()))
    assert content.keys() == {
        *("format", "file", "bytes", "sha256", "opset", "batch_norms", "max_diff", "inputs")
    }
    assert content["batch_norms"] == {"before": 2, "after": 1}
    assert content["inputs"] == [{"shape": [5, 1, 6, 6], "dtype": "float32"}]


@pytest.mark.parametrize("format", SUFFIXES)
def test_other_outputs_are_refused_and_nothing_is_left(
    run: Path, tmp_path: Path, format: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for module in (comparison, export_folder):
        monkeypatch.setattr(module, "gap", lambda *_: float("nan"))
    with pytest.raises(VerificationError, match=r"differ by nan .*1e-03 is allowed. Nothing was"):
        autoprune.export(run, format, out=out)
    assert files(out) == {}


def test_a_model_that_cannot_be_exported_is_told(run: Path, tmp_path: Path) -> None:
    class Odd(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    def build() -> nn.Module:
        return Odd(*autoprune.load(run).children())

    for format in ("onnx", "torch-export"):
        with pytest.raises(VerificationError, match=r"cannot be exported .*GuardOnData") as caught:
            autoprune.export(run, format, model=build)
        assert "\n" not in str(caught.value)
    assert files(run).keys() == {PLAN, WEIGHTS}


def test_an_existing_file_is_replaced_only_if_asked(run: Path, tmp_path: Path) -> None:
    for format, name in SUFFIXES.items():
        file = tmp_path / name
        file.write_text("old")
        told = r"exists already. Add --if-exists overwrite .* \(if_exists=, out= in Python\)"
        with pytest.raises(RunExistsError, match=told):
            autoprune.export(run, format, out=file)  # type: ignore[arg-type]
        assert file.read_text() == "old"
        autoprune.export(run, format, out=file, if_exists="overwrite")  # type: ignore[arg-type]
        assert file.read_bytes() != b"old"


def test_a_run_without_shapes_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    run = written(tmp_path, None)
    with pytest.raises(ArtifactError, match=r"does not say what inputs .* --input 2,3,224,224"):
        autoprune.export(run, "onnx")
    found = autoprune.export(run, "onnx", inputs=[IMAGES[:1]])
    assert found.to_dict()["inputs"] == [{"shape": [2, 1, 6, 6], "dtype": "float32"}]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"format": "tflite"}, ConfigError, "onnx, torch-export, safetensors. Got 'tflite'"),
        ({"if_exists": "resume"}, ConfigError, "'fail' or 'overwrite'. Got 'resume'"),
        ({"opset": 1000}, ConfigError, "from 7 to .* Got 1000"),
        ({"opset": 3}, ConfigError, "from 7 to .* Got 3"),
        ({"opset": 7}, ConfigError, r"cannot be written with --opset 7.* Allowed is \d+"),
        ({"opset": True}, ConfigError, "from 7 to .* Got True"),
        ({"format": "torch-export", "opset": 18}, ConfigError, "is for the format onnx"),
        ({"out": "missing/model.onnx"}, OutputError, "no folder 'missing' to write into"),
        ({"out": "model.pb"}, OutputError, r"must end with \.onnx"),
        ({"format": "safetensors", "out": "x.safetensors"}, OutputError, "Give a folder"),
        ({"format": "safetensors"}, OutputError, "already. Give another folder with --out"),
        ({"inputs": [torch.rand(2, 3, 6, 6)]}, ModelError, r"inputs \(2, 3, 6, 6\) .* --input"),
        ({"model": nn.Linear(2, 2)}, ArtifactError, "another model than the one"),
        ({"folder": "missing"}, ArtifactError, "missing holds no result: plan.json cannot"),
        ({"folder": "."}, ArtifactError, "Give the folder that a finished search wrote"),
    ],
)
def test_bad_input_is_told(
    run: Path,
    given: dict[str, Any],
    error: type[InputError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(run.parent)
    before = files(run)
    options: dict[str, Any] = {"folder": run, "format": "onnx"}
    with pytest.raises(error, match=message):
        autoprune.export(**options | given)
    assert files(run) == before


def test_a_folder_that_cannot_be_written_is_told(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(artifact_files, "TemporaryDirectory", refuse)
    with pytest.raises(OutputError, match=r"cannot be written: Permission denied"):
        autoprune.export(run, "onnx")


# --- shapes of inputs


@pytest.mark.parametrize(
    ("inputs", "specs"),
    [
        ([IMAGES], [((5, 1, 6, 6), "float32")]),
        ({"x": IMAGES.half(), "y": IMAGES.long()}, [((5, 1, 6, 6), "float16"), (..., "int64")]),
        ([IMAGES, 3], None),
        ([[IMAGES, 3]], None),
        ([[IMAGES[0], IMAGES[1]]], [((1, 6, 6), "float32")]),
        ([torch.tensor(3.0)], None),
    ],
)
def test_plain_batches_are_described(inputs: Any, specs: Any) -> None:
    found = specs_of(inputs)
    if specs is None:
        assert found is None
        return
    assert found is not None
    listed = list(found.values()) if isinstance(found, dict) else list(found)
    for one, (shape, dtype) in zip(listed, specs, strict=True):
        assert one.dtype == dtype
        assert shape in (..., one.shape)
    assert specs_of(empty_like(found)) == found


def test_random_inputs_are_the_same_each_time_and_hold_no_values_of_theirs() -> None:
    given = {"x": IMAGES[:1], "y": torch.tensor([[7, 8]]), "flag": True}
    one, two = random_like(given), random_like(given)
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    assert torch.equal(one["x"], two["x"])
    assert one["flag"] is True
    assert one["x"].shape == (2, 1, 6, 6)
    assert set(one["y"].flatten().tolist()) <= {0, 1}


@pytest.mark.parametrize(
    "inputs", [[{"shape": [2, 3], "dtype": "floaty"}], [{"shape": [2, 3]}], [[2, 3]]]
)
def test_shapes_that_are_none_are_refused(run: Path, inputs: Any) -> None:
    content = json.loads((run / PLAN).read_text())
    (run / PLAN).write_text(json.dumps(content | {"inputs": inputs}))
    with pytest.raises(ArtifactError, match=r"plan\.json is not what this version"):
        autoprune.export(run, "onnx")


def test_a_plan_of_before_shapes_were_recorded_is_read(
    run: Path, tmp_path: Path, build: Callable[[], nn.Module]
) -> None:
    content = json.loads((run / PLAN).read_text())
    del content["inputs"], content["constructor"]
    (run / PLAN).write_text(json.dumps(content | {"constructor": None}))
    with pytest.raises(ArtifactError, match=r"Give the dense model: --model FILE.py:NAME"):
        autoprune.export(run, "onnx")
    assert autoprune.export(run, "onnx", model=build, inputs=[IMAGES]).max_diff < 1e-5


@pytest.fixture
def build(tmp_path: Path) -> Callable[[], nn.Module]:
    return Constructor(target="code.py:net", base=tmp_path).build
