"""Files of models that choose by numbers are compared with each choice made alike."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection

from autoprune.artifacts.comparison import all_outputs, gap, gap_of_file
from autoprune.artifacts.export_formats import Written, run_file, write_onnx, write_program
from autoprune.formats.choices import choices_of, run_program
from autoprune.formats.program import capture
from autoprune.surgery.compare import randomised

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}


class Found(nn.Module):
    """Scores of places, of which the best are taken and looked at in the image.

    Args:
        spread: How far maps are from constant ones; where it is small, rounding decides.
    """

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.score, self.label = nn.Conv2d(6, 1, 1), nn.Linear(3, 4)
        with torch.no_grad():
            self.body.get_submodule("0").get_parameter("weight").mul_(spread)

    def forward(self, x: Tensor) -> Any:
        maps = self.body(x)
        scores = self.score(maps).flatten(1).sigmoid()
        best, places = scores.topk(5)
        seen = x.flatten(2).gather(2, places[:, None].expand(-1, 3, -1)).transpose(1, 2)
        logits = self.label(seen)
        return {"scores": best, "logits": logits, "labels": logits.argmax(2), "all": scores}


def made(spread: float) -> nn.Module:
    torch.manual_seed(0)
    model = Found(spread)
    norm = model.body[1]
    assert isinstance(norm, nn.BatchNorm2d)
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.3, 1.5)
    nn.init.constant_(norm.bias, 3.0)
    return model.eval()


def written(model: nn.Module, format: str, folder: Path) -> tuple[Path, Written]:
    path = folder / f"model{SUFFIXES[format]}"
    if format == "onnx":
        return path, write_onnx(model, [IMAGES], path, None, {})
    return path, write_program(model, [IMAGES], path, {})


def test_what_a_program_chooses_by_is_found() -> None:
    def forward(x: Tensor) -> Any:
        made = x * 2
        return (made.exp() > 3), (made + 1).floor(), x.topk(2).values, made.sum(), x.long()

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return forward(x)

    program = capture(Model(), [torch.rand(3, 4)])
    assert [node.name for node in choices_of(program.exported.graph)] == ["exp", "add"]
    assert not choices_of(capture(nn.Linear(4, 2), [torch.rand(3, 4)]).exported.graph)


@pytest.mark.parametrize("format", SUFFIXES)
def test_rounding_decides_what_is_found_and_the_file_is_right_all_the_same(
    format: str, tmp_path: Path
) -> None:
    model = made(spread=1e-6)
    path, told = written(model, format, tmp_path)
    for x in ([IMAGES], [IMAGES[:1]]):
        assert gap(run_file(path, x), all_outputs(model, x)) > 1e-2, "or it shows nothing"
        assert gap_of_file(path, told, model, x) < 1e-5


@pytest.mark.parametrize("format", SUFFIXES)
def test_choices_follow_what_is_given(format: str, tmp_path: Path) -> None:
    model = made(spread=1.0)
    _, told = written(model, format, tmp_path)
    free = run_program(told.program, [IMAGES])
    scores, logits = free.chosen_by
    other = told.steered([IMAGES], [1 - scores, -logits])
    assert torch.allclose(other.chosen_by[0], scores, atol=1e-5), "its own numbers are told"
    assert torch.equal(other.outputs[0], (1 - scores).topk(5).values)
    assert torch.equal(other.outputs[2], logits.argmin(2))


@pytest.mark.parametrize("part", ["body", "score", "label"])
@pytest.mark.parametrize("spread", [1.0, 1e-6])
def test_another_models_file_is_told(part: str, spread: float, tmp_path: Path) -> None:
    path, told = written(made(spread), "onnx", tmp_path)
    other = made(spread)
    with torch.no_grad():
        for parameter in other.get_submodule(part).parameters():
            parameter.mul_(1.01)
    assert gap_of_file(path, told, other, [IMAGES]) > 1e-3


def test_a_file_that_was_altered_is_told(tmp_path: Path) -> None:
    model = made(spread=1e-6)
    path, told = written(model, "onnx", tmp_path)
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        if tensor.name == "label.bias":
            values = onnx.numpy_helper.to_array(tensor) + 0.01
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
            onnx.save(proto, path)
            assert gap_of_file(path, told, model, [IMAGES]) > 1e-3
            return
    pytest.fail("no such weight")


def test_a_file_holds_nothing_but_the_models_outputs(tmp_path: Path) -> None:
    path, _ = written(made(spread=1.0), "onnx", tmp_path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert (len(proto.graph.input), len(proto.graph.output)) == (1, 4)


def test_labels_are_equal_or_they_are_not() -> None:
    scores, labels = torch.tensor([0.9, 0.1]), torch.tensor([1, 2000])
    assert gap([scores, labels], [scores, labels]) == 0
    assert gap([scores, labels], [scores + 0.009, labels]) == pytest.approx(0.01, rel=0.02)
    assert gap([scores, labels], [scores, labels + 1]) == float("inf")
    assert gap([scores, labels], [scores]) == float("inf")
    assert gap([scores], [scores[:1]]) == float("inf")


@pytest.mark.slow
def test_an_ssdlite_of_near_equal_scores_gives_what_its_file_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=2
    )
    model = randomised(model, torch.Generator().manual_seed(0)).eval()
    path, image = tmp_path / "model.onnx", [torch.rand(3, 96, 96)]
    told = write_onnx(model, [image], path, None, {})
    boxes, scores, labels = all_outputs(model, [image])
    assert len(boxes) == len(scores) == len(labels) > 0
    assert gap_of_file(path, told, model, [image]) < 1e-4
    with torch.no_grad():
        last = model.get_submodule("head.classification_head.module_list.0.1")
        last.get_parameter("bias")[::2].add_(0.1)  # of the background
    assert gap_of_file(path, told, model, [image]) > 1e-3
