"""What every task promises, by those we have, with models as people have them."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection as detectors
from torchvision.models.detection import backbone_utils
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from autoprune.tasks import (
    TASKS,
    Classification,
    Contrastive,
    Custom,
    Detection,
    MultiLabel,
    Segmentation,
    Task,
)
from autoprune.testing.tasks import TaskContract


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def splits(make: Any, count: int = 2) -> dict[str, list[Any]]:
    """Return ``count`` batches for each split, drawn from one generator."""
    rng = torch.Generator().manual_seed(0)
    return {split: [make(rng) for _ in range(count)] for split in ("train", "search", "test")}


def classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip


def classes(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3, 8, 8, generator=rng), torch.randint(3, (4,), generator=rng)


def boxes(rng: torch.Generator, side: int = 64) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return two images, one with a box and one without."""
    images = [torch.rand(3, side, side, generator=rng) for _ in range(2)]
    some = {"boxes": torch.tensor([[8.0, 8, 40, 48]]), "labels": torch.tensor([1])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    return images, [some, none]


class TestClassification(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        return Classification(splits(classes)), classifier()


class TestTorchvisionsDetectors(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        model = detectors.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=2
        )
        return Detection(splits(boxes, 1)), model.eval()


class TestTwoStageDetectors(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        model = detectors.fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=2, min_size=64, max_size=64
        )
        return Detection(splits(boxes, 1), iou=0.5), model.eval()


class TestMasksOfObjects(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        def masked(rng: torch.Generator) -> Any:
            images, targets = boxes(rng)
            for target in targets:
                target["masks"] = torch.zeros(len(target["labels"]), 64, 64, dtype=torch.uint8)
                target["masks"][:, 8:48, 8:40] = 1
            return images, targets

        backbone = backbone_utils.mobilenet_backbone(
            backbone_name="mobilenet_v3_large", weights=None, fpn=True, trainable_layers=6
        )
        model = detectors.MaskRCNN(
            backbone,
            num_classes=2,
            min_size=64,
            max_size=64,
            rpn_anchor_generator=AnchorGenerator(((32, 64),) * 3, ((1.0,),) * 3),
        )
        return Detection(splits(masked, 1), iou=0.5, of="masks"), model.eval()


class Corners(nn.Module):
    """A detector of one box in an image: a score and four corners."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(images).mean((2, 3)))
        return found


def corner_loss(outputs: Tensor, targets: Any) -> Tensor:
    there = torch.tensor([float(len(one["labels"]) > 0) for one in targets])
    return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], there)


def corner_boxes(outputs: Tensor) -> list[dict[str, Tensor]]:
    ends = outputs[:, 1:].abs() + 1
    both = torch.cat([ends[:, :2], ends[:, :2] + ends[:, 2:]], 1)
    return [
        {"boxes": box[None], "scores": score.sigmoid()[None], "labels": torch.ones(1).long()}
        for box, score in zip(both, outputs[:, 0], strict=True)
    ]


class TestADetectorOfOnesOwn(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        def stacked(rng: torch.Generator) -> tuple[Tensor, Any]:
            images, targets = boxes(rng)
            return torch.stack(images), targets

        task = Detection(splits(stacked), loss=corner_loss, detections=corner_boxes)
        return task, Corners().eval()


def denoiser() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)).eval()


def images(rng: torch.Generator) -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=rng)


def errors(model: nn.Module, batch: Tensor) -> Tensor:
    found: Tensor = (model(batch) - batch).square().mean((1, 2, 3))
    return found


class TestAFunctionThatScores(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        task = Custom(splits(images), evaluate=errors, higher_is_better=False)
        return task, denoiser()


class TestAFunctionThatScoresAndALoss(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        loss = nn.functional.mse_loss
        task = Custom(splits(images), evaluate=errors, loss=loss, higher_is_better=False)
        return task, denoiser()


def labels(rng: torch.Generator) -> dict[str, Tensor]:
    targets = (torch.rand(4, 3, generator=rng) < 0.5).float()
    return {"pixel_values": torch.rand(4, 3, 8, 8, generator=rng), "labels": targets}


class Named(nn.Module):
    """A classifier that takes and returns by name."""

    def __init__(self) -> None:
        super().__init__()
        self.net = classifier()

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(pixel_values)}


class TestSeveralLabels(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        return MultiLabel(splits(labels)), Named().eval()


def masks(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    found = torch.randint(3, (2, 32, 32), generator=rng)
    found[:, :4] = 255
    return torch.rand(2, 3, 32, 32, generator=rng), found


class TestSegmentation(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
        return Segmentation(splits(masks)), model.eval()


class Towers(nn.Module):
    """A tower for images and one for tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
        )
        self.words, self.text = nn.Embedding(10, 8), nn.Linear(8, 6)

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.visual(images), self.text(self.words(tokens).mean(1))


def pairs(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    images = torch.rand(4, 3, 8, 8, generator=rng)
    return images, torch.randint(10, (4, 5), generator=rng)


class TestPairsOfImagesAndCaptions(TaskContract):
    def make(self) -> tuple[Task, nn.Module]:
        return Contrastive(splits(pairs)), Towers().eval()


class Twice(Classification):
    """It says one forward, and takes two."""

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        super().outputs(model, batch)
        return super().outputs(model, batch)


class Fixed(Classification):
    """It takes every batch for one of four samples."""

    def samples(self, batch: Any) -> int:
        return 4


class Centred(Classification):
    """What a sample gets depends on the others."""

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        found = super().outputs(model, batch)
        return 9 * (found - found.mean(0))


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (Twice, "test_the_model_runs_as_often_as_it_says", r"forwards is 1, .* of \[4, 4\]"),
        (Fixed, "test_parts_of_a_batch_are_batches", r"the parts are \[4, 4\], of the whole 4"),
        (Centred, "test_parts_of_a_batch_are_batches", "cut alike"),
    ],
)
def test_a_task_that_breaks_it_is_caught(
    kind: type[Classification], test: str, message: str
) -> None:
    class Held(TaskContract):
        def make(self) -> tuple[Task, nn.Module]:
            return kind(splits(classes)), classifier()

    with pytest.raises(AssertionError, match=message):
        getattr(Held(), test)()


def test_every_registered_task_is_held_to_it() -> None:
    made = [kind().make()[0].name for kind in TaskContract.__subclasses__()]
    assert set(made) == set(TASKS)
