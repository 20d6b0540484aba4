"""Bad data of every task, through the command line: code 2, one paragraph, and no run begun."""

from collections.abc import Callable
from pathlib import Path

import pytest

CODE = '''
"""A model and data for each task; ``spoil`` is what a test puts into a batch of a split."""

import torch
from torch import nn

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NUMBERS = torch.arange(4)


def body():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
    )


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual, self.words = body(), nn.Embedding(10, 8)
        self.out = nn.Linear(8, 4)

    def forward(self, images, tokens):
        return self.visual(images).mean((2, 3)), self.words(tokens).mean(1)


def segmentation_net():
    return nn.Sequential(body(), nn.ReLU(), nn.Conv2d(8, 3, 1))


detection_net = segmentation_net
contrastive_net = Towers


def labels_net():
    return nn.Sequential(body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def loss(maps, targets):
    return maps.square().mean()


def detections(maps):
    box, score = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.ones(1)
    return [{"boxes": box, "scores": score, "labels": score.long()} for _ in maps]


def box(*corners, label=1):
    corners = torch.tensor([[float(x) for x in corners]])
    return [{"boxes": corners, "labels": torch.tensor([label])} for _ in IMAGES]


MASKS = (IMAGES[:, 0] * 3).long()
GOOD = {
    "segmentation": (IMAGES, MASKS),
    "detection": (IMAGES, box(2, 2, 8, 8)),
    "contrastive": (IMAGES, NUMBERS[:, None].expand(4, 5).contiguous()),
    "labels": (IMAGES, torch.eye(3)[NUMBERS % 3]),
}
'''
LOADERS = """

def loaders():
    good, bad = GOOD["{kind}"], lambda: {bad}
    splits = {{split: [good, good] for split in ("train", "search", "test")}}
    splits["{split}"] = bad() if {whole} else [good, bad()]
    return splits
"""
SEARCH = """\
model: code.py:{kind}_net
data: code.py:loaders
task: {task}
budget: {{macs: 70%}}
trials: 1
onnx: false
out: run
runner: file:./runner.yaml
recovery: {{score_steps: 1, recover_steps: 1, finalists: 1, calibration_batches: 2}}
"""
TASKS = {
    "segmentation": "segmentation",
    "detection": "{target: detection, args: {loss: code.py:loss, detections: code.py:detections}}",
    "contrastive": "contrastive",
    "labels": "multi-label",
}
X, BOXES = "IMAGES", "box(2, 2, 8, 8)"
CASES = {
    "segmentation": {
        "(IMAGES, MASKS + 1)": "Masks must hold classes 0 to 2, as the model has 3 outputs",
        "(IMAGES, MASKS - 1)": "Got -1 to",
        "(IMAGES, MASKS.float())": "integer masks [samples, h, w]",
        "(IMAGES, MASKS[:, :8])": "Got masks of 8 x 16 for images of 16 x 16",
        "((IMAGES * 255).byte(), MASKS)": "float images [samples, channels, h, w]",
        "(IMAGES.double(), MASKS)": "failed on a search batch, inputs (4, 3, 16, 16) float64",
        "(IMAGES * float('nan'), MASKS)": "search split for samples that are not finite",
        "{'pixel_values': IMAGES}": "a mapping with the masks as 'labels'. Got {pixel_values:",
        "([*IMAGES[:1], IMAGES[0, :, :8]], [*MASKS[:1], MASKS[0, :8]])": "[samples, h, w]",
    },
    "detection": {
        f"({X}, box(2, 2, 2, 8))": "1 of 1 boxes of a search image have no area",
        f"({X}, box(2, float('nan'), 4, 8))": "search boxes hold NaN or infinite numbers",
        f"({X}, box(2, 2, 8, 8, label=-1))": "Labels must be classes from 0",
        f"({X}, box(20, 20, 24, 24))": "lie outside 16 x 16 pixels",
        f"({X}, [{{'boxes': one['boxes']}} for one in {BOXES}])": "boxes [boxes, 4] and labels",
        f"((IMAGES * 255).byte(), {BOXES})": "a list of float images",
        f"(IMAGES.double(), {BOXES})": "forward failed on a search batch",
        f"([*IMAGES[:3], IMAGES[0, :, :8]], {BOXES})": "failed on a search batch",
    },
    "contrastive": {
        "(IMAGES, GOOD['contrastive'][1][:, :3])": "yielded 3 after 5. Pad every caption",
        "(IMAGES, GOOD['contrastive'][1] + 9)": "forward failed on a search batch",
        "(IMAGES, GOOD['contrastive'][1].float())": "integer tokens [pairs, length]",
        "(IMAGES, GOOD['contrastive'][1][:2])": "search loader must yield (images, tokens)",
        "{'pixel_values': IMAGES}": "'pixel_values' and 'input_ids'",
    },
    "labels": {
        "(IMAGES, 2 * GOOD['labels'][1])": "search targets must be 0 and 1",
        "(IMAGES, GOOD['labels'][1] * float('nan'))": "nan for one",
        "(IMAGES, GOOD['labels'][1][:, :2])": "The model has 3 outputs for targets of 2 classes",
        "(IMAGES, NUMBERS)": "targets [samples, classes] of 0 and 1",
        "(IMAGES[:, :2], GOOD['labels'][1])": "forward failed on a search batch",
        "{'pixel_values': IMAGES}": "beside them as 'labels'",
    },
}
Run = Callable[..., tuple[int, str, str]]
Told = Callable[..., str]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_autoprune: Run) -> Told:
    """Return what spoils the data of a task, searches, and gives the paragraph it ends with."""
    monkeypatch.chdir(tmp_path)

    def told(kind: str, bad: str, split: str = "search", whole: bool = False) -> str:
        Path("code.py").write_text(
            CODE + LOADERS.format(kind=kind, bad=bad, split=split, whole=whole)
        )
        Path("search.yaml").write_text(SEARCH.format(kind=kind, task=TASKS[kind]))
        Path("runner.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
        code, out, err = run_autoprune("search", "search.yaml")
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        paragraph = err[err.index("autoprune: ") :]
        assert paragraph.count("\n") == 1, "more than one paragraph"
        return paragraph

    return told


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [(kind, bad, message) for kind, cases in CASES.items() for bad, message in cases.items()],
)
def test_a_bad_second_batch_is_told(kind: str, bad: str, message: str, told: Told) -> None:
    assert message in told(kind, bad)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("split", ["train", "search", "test"])
def test_an_empty_split_is_told(kind: str, split: str, told: Told) -> None:
    assert f"The {split} split is empty" in told(kind, "[]", split, whole=True)


@pytest.mark.parametrize("kind", CASES)
def test_a_bad_training_batch_is_told_before_the_first_candidate(kind: str, told: Told) -> None:
    assert "The train loader must yield" in told(kind, "None", "train")
