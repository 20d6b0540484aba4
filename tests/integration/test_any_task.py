"""Whole searches of detectors, and of what only a function can judge."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection as detectors
from torchvision.ops import boxes as box_ops

import autoprune

SEARCH = """\
model: code.py:net
data: code.py:loaders
task: {task}
budget: {{macs: 60%}}
trials: 4
onnx: {onnx}
out: run
runner: file:./runner.yaml
recovery: {{score_steps: 2, recover_steps: 4, finalists: 1, calibration_batches: 1}}
"""
DETECTOR = '''
"""A detector of one bright square, on a map of places."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        )
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, images):
        return self.head(self.body(images))


def net():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net()


def loss(maps, targets):
    found = []
    for one, target in zip(maps, targets):
        x, y = (target["boxes"][0, :2] / 4).long().tolist()
        place = torch.tensor(y * one.shape[2] + x)
        centre = nn.functional.cross_entropy(one[0].flatten()[None], place[None])
        found.append(centre + (one[1:, y, x] - target["boxes"][0] / 16).abs().mean())
    return torch.stack(found).mean()


def detections(maps):
    found = []
    for one in maps:
        score, place = one[0].flatten().sigmoid().max(0)
        box = one[1:].flatten(1)[:, place] * 16
        box = torch.cat([box[:2], torch.maximum(box[2:], box[:2] + 1)])
        found.append({"boxes": box[None], "scores": score[None], "labels": torch.ones(1).long()})
    return found


def split(seed, batches):
    rng = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(batches):
        images, targets = torch.zeros(8, 1, 16, 16), []
        for image in images:
            x, y = torch.randint(0, 8, (2,), generator=rng).tolist()
            image[:, y : y + 6, x : x + 6] = 1
            box = torch.tensor([[x, y, x + 6.0, y + 6.0]])
            targets.append({"boxes": box, "labels": torch.ones(1).long()})
        found.append((images, targets))
    return found


def loaders():
    return {"train": split(1, 4), "search": split(2, 2), "test": split(3, 2)}
'''
DENOISER = '''
"""A network that takes noise away, which only a function can judge."""

import torch
from torch import nn


def net():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
            nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1),
        )


def evaluate(model, batch):
    noisy, clean = batch
    return (model(noisy) - clean).square().mean((1, 2, 3))


def split(seed):
    rng = torch.Generator().manual_seed(seed)
    clean = torch.rand(32, 1, 8, 8, generator=rng)
    return [(clean + 0.1 * torch.randn(32, 1, 8, 8, generator=rng), clean)] * 2


def loaders():
    return {"train": split(1), "search": split(2), "test": split(3)}
'''


def searched(folder: Path, run: Callable[..., Any], code: str, task: str, onnx: bool) -> Any:
    """Search by the command line and return the result and what was printed."""
    (folder / "code.py").write_text(code)
    (folder / "runner.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    (folder / "search.yaml").write_text(SEARCH.format(task=task, onnx=str(onnx).lower()))
    done = run("search", "search.yaml")
    assert done[0] == 0, done
    return json.loads((folder / "run" / "result.json").read_text()), done[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_detector_of_ones_own_is_searched_from_a_file(
    folder: Path, run_autoprune: Callable[..., Any]
) -> None:
    names = "loss: code.py:loss, detections: code.py:detections"
    task = f"{{target: detection, args: {{iou: 0.4, {names}}}}}"
    result, shown = searched(folder, run_autoprune, DETECTOR, task, onnx=True)
    assert (result["task"], result["metric"]) == ("detection", "mAP@0.4")
    assert result["pruned"]["macs"] <= 0.6 * result["dense"]["macs"]
    assert result["checks"]["onnx_max_diff"] < 1e-3
    assert "mAP@0.4" in shown
    model = autoprune.load(folder / "run")
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 5, 4, 4)


def test_what_only_a_function_can_judge_is_searched_from_a_file(
    folder: Path, run_autoprune: Callable[..., Any]
) -> None:
    names = "evaluate: code.py:evaluate, metric_name: squared error, higher_is_better: false"
    task = f"{{target: custom, args: {{{names}}}}}"
    result, shown = searched(folder, run_autoprune, DENOISER, task, onnx=False)
    assert (result["task"], result["higher_is_better"]) == ("custom", False)
    assert result["is_share"] is False
    error = -result["pruned"]["quality_test"]
    assert 0 < error < 1
    (row,) = [line.split() for line in shown.splitlines() if "error, test split" in line]
    assert row[5] == f"{error:.4g}"
    assert run_autoprune("report", "run", "--out", "run.html")[0] == 0
    assert "the test split its squared error is" in (folder / "run.html").read_text()
    (folder / "search.yaml").write_text(
        SEARCH.format(task=task.replace("false", "true"), onnx="false")
    )
    code, _, told = run_autoprune("search", "search.yaml", "--max-drop", "1", "--out", "points")
    assert (code, "lets any model pass" in told, "is_share: true" in told) == (2, True, True)
    assert "points" not in shown
    assert not any("taylor" in choice["method"] for choice in result["policy"].values())


def squares(count: int, seed: int) -> list[Any]:
    """Return batches of two images with one square each."""
    rng, found = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        images, targets = [], []
        for _ in range(2):
            x, y = torch.randint(0, 40, (2,), generator=rng).tolist()
            image = 0.2 * torch.rand(3, 64, 64, generator=rng)
            image[:, y : y + 20, x : x + 20] = 0.9
            box = torch.tensor([[x, y, x + 20.0, y + 20.0]])
            images.append(image)
            targets.append({"boxes": box, "labels": torch.ones(1, dtype=torch.int64)})
        found.append((images, targets))
    return found


class Listed(nn.Module):
    """A detector as torchvision has them: it takes a list, and tells losses or boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        maps = self.head(self.body(torch.stack(list(images))))
        if self.training:
            there = torch.stack([self.centres(target["boxes"], maps) for target in targets])
            score = nn.functional.binary_cross_entropy_with_logits(maps[:, 0], there)
            return {"score": score, "size": (maps[:, 1:] * there[:, None] - 2).square().mean()}
        return [self.found(one) for one in maps]

    def centres(self, boxes: Tensor, maps: Tensor) -> Tensor:
        found = torch.zeros(maps.shape[-2:])
        x, y = ((boxes[:, :2] + boxes[:, 2:]) / 8).long().T
        found[y, x] = 1
        return found

    def found(self, one: Tensor) -> dict[str, Tensor]:
        y, x = torch.meshgrid(*(4.0 * torch.arange(n) for n in one.shape[1:]), indexing="ij")
        scores, sizes = one[0].flatten().sigmoid(), 4 * one[1:].flatten(1).exp()
        middle = torch.stack([x.flatten(), y.flatten()])
        boxes = torch.cat([middle - sizes / 2, middle + sizes / 2]).T
        labels = torch.ones_like(scores, dtype=torch.int64)
        kept = box_ops.batched_nms(boxes, scores, labels, 0.4)
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


def test_a_detector_that_takes_a_list_is_exported_for_one_image(folder: Path) -> None:
    torch.manual_seed(0)
    model = Listed()
    data = {split: squares(2, seed) for seed, split in enumerate(("train", "search", "test"))}
    found = autoprune.search(
        model,
        task=autoprune.Detection(data, iou=0.5),
        budget="macs=60%",
        trials=2,
        sensitivity=False,
        recovery=autoprune.Recovery(
            score_steps=1, recover_steps=2, finalists=1, calibration_batches=1
        ),
        progress=lambda event: None,
    )
    assert found.result.checks.onnx_max_diff is not None
    assert found.result.checks.onnx_max_diff < 1e-5
    again = autoprune.export(found.folder, "torch-export", out=folder / "a.pt2", model=model)
    assert again.max_diff < 1e-3
    assert again.to_dict()["inputs"] == [{"shape": [3, 64, 64], "dtype": "float32", "listed": 2}]
    image = data["test"][0][0][0]
    session = onnxruntime.InferenceSession(found.folder / "model.onnx")
    boxes, scores, labels = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert boxes.shape == (len(scores), 4)
    assert labels.shape == (len(scores),)
    assert len(scores)


@pytest.mark.slow
def test_a_detector_of_torchvision_with_proposals_is_searched(folder: Path) -> None:
    torch.manual_seed(0)
    model = detectors.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=2, min_size=64, max_size=64
    )
    data = {split: squares(2, seed) for seed, split in enumerate(("train", "search", "test"))}
    found = autoprune.search(
        model,
        task=autoprune.Detection(data),
        budget="macs=60%",
        trials=2,
        sensitivity=False,
        onnx=False,
        recovery=autoprune.Recovery(
            score_steps=1, recover_steps=1, finalists=1, calibration_batches=1, learning_rate=1e-3
        ),
        progress=lambda event: None,
    )
    assert found.result.checks.budget_met
    parts = {name.split(".")[0] for name in found.policy}
    assert parts == {"backbone", "rpn", "roi_heads"}, "backbone, pyramid and heads are prunable"
    assert any("fpn" in name for name in found.policy)
    again = autoprune.load(folder / "runs" / "autoprune", model)
    image = data["test"][0][0][0]
    assert _same(again([image])[0], found.model([image])[0])


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in other)


def test_a_task_that_does_not_exist_or_take_its_settings_is_told(
    folder: Path, run_autoprune: Callable[..., Any]
) -> None:
    (folder / "code.py").write_text(DENOISER)
    (folder / "runner.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    for task, message in (
        ("detectoin", "Did you mean 'detection'?"),
        ("{target: detection, args: {iuo: 0.5}}", "Allowed are: iou, of, loss, detections"),
        ("{target: custom, args: {}}", "missing a required argument: 'evaluate'"),
        ("{target: custom, args: {evaluate: code.py:nothing}}", "search.yaml: task.args.evaluate"),
        ("nowhere.py:Task", "search.yaml: task: there is no file 'nowhere.py'"),
    ):
        (folder / "search.yaml").write_text(SEARCH.format(task=task, onnx="false"))
        code, _, told = run_autoprune("search", "search.yaml")
        assert (code, message in told) == (2, True), told


def test_a_class_of_ones_own_is_a_task(folder: Path, run_autoprune: Callable[..., Any]) -> None:
    own = """
from autoprune.tasks import Custom

class Denoising(Custom):
    name = "denoising"

    def __init__(self, data, weight):
        super().__init__(data, evaluate=evaluate, higher_is_better=False)
"""
    task = "{target: code.py:Denoising, args: {weight: 2}}"
    result, _ = searched(folder, run_autoprune, DENOISER + own, task, onnx=False)
    assert result["task"] == "denoising"


def test_nothing_of_an_image_is_in_what_a_run_leaves(folder: Path) -> None:
    """Samples never reach logs, reports or the database: a needle is looked for in all files."""
    needle = 0.7219437  # of the batches
    data = {split: [torch.full((4, 1, 6, 6), needle)] for split in ("train", "search", "test")}
    autoprune.search(
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 3)),
        task=autoprune.Custom(data, evaluate=lambda model, batch: model(batch).mean((1, 2, 3))),
        budget="macs=60%",
        trials=2,
        onnx=False,
        recovery=autoprune.Recovery(score_steps=1, recover_steps=1, finalists=1),
        progress=lambda event: None,
    )
    signs = [torch.tensor(needle).numpy().tobytes(), b"0.7219437"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if any(sign in path.read_bytes() for sign in signs)]
