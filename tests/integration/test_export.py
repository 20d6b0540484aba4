"""Through the command line: a small search, then its result exported in every format."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

import autoprune
from autoprune.formats.onnx import run_onnx
from autoprune.surgery.compare import difference, outputs
from tests.integration.conftest import finish

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def finished(user_folder: Path) -> Iterator[Path]:
    """Return the user's folder, with a finished search in ``run``."""
    text = (user_folder / "search.yaml").read_text().replace("onnx: false", "onnx: true")
    (user_folder / "search.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        finish(patch, "search", "search.yaml", "--trials", "2", "--quiet")
        yield user_folder


@pytest.fixture
def run(run_autoprune: Run) -> Run:
    return partial(run_autoprune, "export")


def test_what_was_exported_is_what_was_measured(finished: Path, run: Run, tmp_path: Path) -> None:
    code, out, err = run("run", "--format", "onnx", "--out", str(tmp_path), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert Path(found["file"]) == tmp_path / "model.onnx"
    assert found["batch_norms"] == {"before": 3, "after": 0}
    assert found["inputs"] == [{"shape": [2, 1, 6, 6], "dtype": "float32"}]
    assert (tmp_path / "model.onnx").read_bytes() == Path("run/model.onnx").read_bytes()


@pytest.mark.parametrize("format", ["torch-export", "safetensors"])
def test_every_format_gives_the_outputs_of_the_run(
    finished: Path, run: Run, tmp_path: Path, format: str
) -> None:
    code, out, err = run("run", "--format", format, "--out", str(tmp_path))
    assert code == 0, err
    assert "Outputs differ by" in out
    x = [torch.rand(3, 1, 6, 6)]
    wanted = outputs(autoprune.load("run"), x)
    if format == "safetensors":
        assert difference(outputs(autoprune.load(tmp_path), x), wanted) == 0
        return
    assert "Batch norms: 3, 0 left." in out
    with torch.no_grad():
        found = torch.export.load(tmp_path / "model.pt2").module()(*x)
    assert difference([found], wanted) < 1e-5


def test_shape_opset_and_model_may_be_given(finished: Path, run: Run, tmp_path: Path) -> None:
    words = ["--model", "code.py:net", "--args", "width=8", "--input", "1,1,8,8", "--opset", "18"]
    code, out, err = run("run", "--format", "onnx", "--out", str(tmp_path / "m.onnx"), *words)
    assert code == 0, err
    assert "Opset 18." in out
    (found,) = run_onnx(tmp_path / "m.onnx", [torch.rand(4, 1, 8, 8)])
    assert found.shape == (4, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--format", "onnx"], "nowhere holds no result: plan.json cannot be read"),
        ([".", "--format", "onnx"], "Give the folder that a finished search wrote"),
        (["run", "--format", "tflite"], "'tflite' is not one of"),
        (["run", "--format", "onnx"], "exists already. Add --if-exists overwrite"),
        (["run", "--format", "onnx", "--out", "no/model.onnx"], "There is no folder 'no'"),
        (["run", "--format", "safetensors", "--out", "no"], "Give a folder that is there, or"),
        (["run", "--format", "onnx", "--args", "width=8"], "Give --model as well"),
        (["run", "--format", "torch-export", "--opset", "18"], "is for the format onnx"),
        (["run", "--format", "torch-export", "--input", "2,x"], "--input must be a shape"),
        (["run", "--format", "torch-export", "--input", "2,3,6,6"], "forward failed on inputs"),
        (["run", "--format", "torch-export", "--model", "code.py:none"], "has no 'none'"),
    ],
)
def test_bad_input_ends_with_2_and_one_paragraph(
    finished: Path, run: Run, words: list[str], message: str
) -> None:
    before = {path.name for path in Path("run").iterdir()}
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert {path.name for path in Path("run").iterdir()} == before
