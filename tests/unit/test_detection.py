"""Detection: boxes are checked, losses are told in eval mode, precision is COCO's."""

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import detection as detectors
from torchvision.ops import boxes as box_ops

from autoprune.errors import ConfigError, DataError
from autoprune.formats.suppression import without_branches
from autoprune.surgery.discover import discover
from autoprune.tasks import Detection, average_precision
from autoprune.tasks.average_precision import AveragePrecision
from autoprune.tasks.chunks import chunks
from autoprune.tasks.detection import DETECTIONS, LOSSES
from autoprune.tasks.detector_losses import telling_losses, total_of

IMAGE = torch.zeros(3, 32, 48)
BOX, LABEL = torch.tensor([[2.0, 3, 20, 30]]), torch.tensor([1])
TARGET = {"boxes": BOX, "labels": LABEL}
NONE = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
GOOD = [([IMAGE, IMAGE], [TARGET, NONE])]


def read(*batches: Any) -> list[Any]:
    return list(Detection({"train": batches, "search": GOOD, "test": GOOD}).batches("train"))


# --- what a batch holds


def test_images_of_any_size_and_images_without_boxes_are_taken() -> None:
    other = torch.zeros(3, 40, 40)
    assert len(read(*GOOD, ([IMAGE, other], [NONE, TARGET]), (IMAGE[None], [TARGET]))) == 3


@pytest.mark.parametrize(
    "batch",
    [
        IMAGE,
        ([IMAGE], TARGET),
        ([IMAGE], [TARGET, TARGET]),
        ([IMAGE[0]], [TARGET]),
        ([IMAGE.to(torch.uint8)], [TARGET]),
        ([IMAGE], [{"boxes": BOX}]),
        ([], []),
    ],
)
def test_batches_of_another_form_are_told(batch: Any) -> None:
    with pytest.raises(DataError, match=r"The train loader must yield \(images, targets\).* Got"):
        read(batch)


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        (BOX.long(), LABEL, r"float boxes \[boxes, 4\].* Got int64 \[1, 4\] and int64 \[1\]"),
        (BOX[0], LABEL, r"Got float32 \[4\]"),
        (BOX, LABEL.float(), r"integer labels.*float32 \[1\]"),
        (BOX, torch.tensor([1, 1]), r"and int64 \[2\]"),
        (torch.zeros(0), NONE["labels"], r"an image without any has \[0, 4\]"),
        (BOX * torch.nan, LABEL, "NaN or infinite"),
        (BOX[:, [0, 1, 0, 3]], LABEL, r"1 of 1 boxes of a train image have no area.*x1 < x2"),
        (BOX[:, [2, 1, 0, 3]], LABEL, "no area"),
        (BOX / 100, LABEL, r"shares of its size\. Multiply x by 48, y by 32"),
        (BOX + 100, LABEL, r"1 of 1 boxes of a train image lie outside 48 x 32 pixels"),
        (BOX, LABEL - 2, "Labels must be classes from 0. A train image has -1"),
    ],
)
def test_boxes_that_are_none_are_told(boxes: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(([IMAGE], [{"boxes": boxes, "labels": labels}]))


def test_a_box_may_reach_over_the_edge() -> None:
    assert read(([IMAGE], [{"boxes": BOX - 5, "labels": LABEL}]))


# --- settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"iou": 0.0}, "between 0 and 1"),
        ({"iou": 1}, "between 0 and 1"),
        ({"iou": "half"}, "iou"),
        ({"iou": []}, "at least one overlap"),
        ({"loss": lambda outputs, targets: outputs}, "'loss' and 'detections' together"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Detection({"train": GOOD, "search": GOOD, "test": GOOD}, **given)


def test_overlaps_are_named_and_tell_scores_apart() -> None:
    data = {"train": GOOD, "search": GOOD, "test": GOOD}
    plain, one, two = (Detection(data, iou=iou) for iou in (None, 0.4, [0.4, 0.5]))
    assert (plain.metric_name, one.metric_name) == ("mAP", "mAP@0.4")
    assert len({str(task.settings) for task in (plain, one, two)}) == 3


def test_what_is_no_detector_is_told() -> None:
    task = Detection({"train": GOOD, "search": GOOD, "test": GOOD})
    with pytest.raises(DataError, match=r"mapping of losses .* Got float32 \[2\].*'detections'"):
        total_of(torch.zeros(2))
    with pytest.raises(DataError, match=r"boxes, scores and labels for each image"):
        task.check_outputs({LOSSES: torch.zeros(2), DETECTIONS: [{}, {}]}, GOOD[0])


def test_detections_that_raise_are_blamed_by_name() -> None:
    data: Any = {"train": GOOD, "search": GOOD, "test": GOOD}
    task = Detection(data, loss=lambda *_: BOX.sum(), detections=lambda outputs: outputs["boxes"])
    with pytest.raises(ConfigError, match=r"'detections' raised: .*test_detection\.py"):
        task.check_outputs(torch.zeros(2), GOOD[0])


# --- losses in eval mode


def detector() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = detectors.fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=2, min_size=64, max_size=64
        )
    return model.eval()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return detector()


def test_losses_are_those_of_training_with_norms_and_dropout_as_in_eval_mode(
    model: nn.Module,
) -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found, random = [], torch.get_rng_state()
    for _ in range(2):
        with torch.no_grad(), telling_losses(model):
            found.append(model([image], [TARGET]))
    assert set(found[0]) >= {"loss_classifier", "loss_objectness"}
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert [module.training for module in model.modules()] == before
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert torch.equal(torch.get_rng_state(), random)


def test_no_boxes_are_found_where_only_the_loss_is_asked_for() -> None:
    model = detector()
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))] * 2
    targets = [{"boxes": BOX, "labels": LABEL}] * 2
    task = Detection({split: [(images, targets)] for split in ("train", "search", "test")})
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    graded = task.loss(task.outputs(model, (images, targets)), (images, targets))
    assert (graded.requires_grad, seen) == (True, [1, 1])
    with torch.no_grad():
        outputs = task.outputs(model, (images, targets))
    assert seen == [1, 1, 2, 1, 1]
    torch.testing.assert_close(task.loss(outputs, (images, targets)), graded.detach())


def test_the_loss_of_a_batch_is_the_mean_of_its_parts(model: nn.Module) -> None:
    rng = torch.Generator().manual_seed(0)
    batch = ([torch.rand(3, 64, 64, generator=rng) for _ in range(3)], [TARGET, NONE, TARGET])
    task = Detection({"train": [batch], "search": [batch], "test": [batch]})
    with torch.no_grad():
        outputs = task.outputs(model, batch)
    parts = list(zip(chunks(outputs, 3, 1), chunks(batch, 3, 1), strict=True))
    assert len(parts) == 3
    losses = [task.loss(own, part) for own, part in parts]
    torch.testing.assert_close(torch.stack(losses).mean(), task.loss(outputs, batch))


# --- precision


def found_of(outputs: Any) -> Any:
    return outputs


def precision(found: list[Any], targets: list[Any], cut: int) -> float:
    metric = AveragePrecision([0.5], found_of)
    for part in range(0, len(found), cut):
        metric.update(found[part : part + cut], (None, targets[part : part + cut]))
    return metric.compute()


def scored(boxes: Tensor, *scores: float, label: int = 1) -> dict[str, Tensor]:
    labels = torch.full((len(boxes),), label)
    return {"boxes": boxes, "scores": torch.tensor(scores), "labels": labels}


def test_precision_of_boxes_is_that_of_the_definition() -> None:
    away = BOX + 40
    assert precision([scored(BOX, 0.9)], [TARGET], 1) == pytest.approx(1)
    assert precision([scored(away, 0.9)], [TARGET], 1) == pytest.approx(0)
    assert precision([scored(BOX, 0.9, label=2)], [TARGET], 1) == pytest.approx(0)
    both = torch.cat([away, BOX])
    assert precision([scored(both, 0.9, 0.8)], [TARGET], 1) == pytest.approx(0.5)
    assert precision([scored(both, 0.8, 0.9)], [TARGET], 1) == pytest.approx(1)
    assert precision([scored(BOX, 0.9), scored(away, 0.1)], [TARGET, TARGET], 1) == pytest.approx(
        51 / 101, abs=0.01
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6), st.data())
@settings(max_examples=20)
def test_precision_does_not_depend_on_how_batches_are_cut(rows: Any, data: Any) -> None:
    found = [scored(BOX if hit else BOX + 40, 0.9 - at / 10) for at, (hit, _) in enumerate(rows)]
    targets = [TARGET if there else NONE for _, there in rows]
    cut = data.draw(st.integers(1, len(rows)))
    assert precision(found, targets, cut) == pytest.approx(precision(found, targets, len(rows)))


def test_a_split_without_boxes_has_no_precision_and_says_so() -> None:
    metric = AveragePrecision(None, found_of)
    metric.update([scored(BOX, 0.9)], (None, [NONE]))
    assert metric.compute() == 0
    assert "no box" in metric.notes()[0]


def test_precision_of_masks_is_that_of_masks_and_not_of_boxes() -> None:
    """A mask of half the object's pixels has the object's box and an overlap of 0.5."""
    whole = torch.zeros(1, 32, 48)
    whole[:, 3:30, 2:20] = 1
    striped = whole.clone()
    striped[:, 4:29, 3:19] = 0
    told = scored(BOX, 0.9) | {"masks": 0.9 * striped[:, None]}
    for of, want in (("boxes", 1.0), ("masks", 0.0)):
        metric = AveragePrecision([0.5], found_of, of)  # type: ignore[arg-type]
        metric.update([told], (None, [TARGET | {"masks": whole.bool()}]))
        assert metric.compute() == pytest.approx(want)
    metric = AveragePrecision([0.5], found_of, "masks")
    right = told | {"masks": 0.6 * whole[:, None]}
    metric.update([right], (None, [TARGET | {"masks": whole.to(torch.uint8)}]))
    assert metric.compute() == pytest.approx(1)


@pytest.mark.parametrize(
    "masks", [None, torch.zeros(1, 32, 48), torch.zeros(1, 16, 48).bool(), torch.zeros(2, 32, 48)]
)
def test_masks_that_do_not_fit_are_told(masks: Any) -> None:
    target = TARGET | ({} if masks is None else {"masks": masks})
    batches = [([IMAGE], [target])]
    task = Detection({"train": batches, "search": batches, "test": batches}, of="masks")
    assert (task.metric_name, task.settings["of"]) == ("mask mAP", "masks")
    with pytest.raises(DataError, match=r"train targets must hold 'masks', .*\[1, 32, 48\] for"):
        list(task.batches("train"))
    with pytest.raises(DataError, match="mapping of boxes, masks, scores and labels"):
        task.check_outputs({DETECTIONS: [scored(BOX, 0.9)]}, batches[0])


def test_scores_that_are_no_numbers_give_no_precision() -> None:
    metric = AveragePrecision(None, found_of)
    metric.update([scored(BOX, math.nan)], (None, [TARGET]))
    metric.update([scored(BOX, 0.9)], (None, [TARGET]))
    assert math.isnan(metric.compute())


@pytest.mark.parametrize(
    "missing", [("faster_coco_eval", "pycocotools"), ("torchmetrics.detection",)]
)
def test_what_is_not_installed_is_told(
    missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(
        average_precision, "find_spec", lambda name: None if name in missing else object()
    )
    with pytest.raises(ConfigError, match=r"pip install 'autoprune\[detection\]'"):
        AveragePrecision(None, found_of)


# --- exports


def test_boxes_are_suppressed_alike_where_an_exporter_looks_on() -> None:
    rng = torch.Generator().manual_seed(0)
    corner = 50 * torch.rand(40, 2, generator=rng)
    boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(40, 2, generator=rng)], 1)
    scores, classes = torch.rand(40, generator=rng), torch.arange(40) % 3
    usual = box_ops.batched_nms(boxes, scores, classes, 0.4)
    with without_branches():
        assert torch.equal(box_ops.batched_nms(boxes, scores, classes, 0.4), usual)
        assert len(box_ops.batched_nms(boxes[:0], scores[:0], classes[:0], 0.4)) == 0
    assert 0 < len(usual) < 40


@pytest.mark.slow
def test_heads_that_only_see_what_was_found_are_prunable() -> None:
    """Hardly a random copy of a Mask R-CNN finds anything that its mask head could look at."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mask_rcnn = detectors.maskrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=2,
            min_size=96,
            max_size=128,
            rpn_post_nms_top_n_test=50,
            box_detections_per_img=4,
        )
        images = [torch.rand(3, 96, 96) for _ in range(2)]
    plan = discover(mask_rcnn.eval(), (images,), np.random.default_rng(0))
    heads = {name for name in plan.units if name.startswith("roi_heads.mask_head")}
    assert heads == {f"roi_heads.mask_head.{at}.0" for at in range(4)}


class Gathering(nn.BatchNorm2d):
    """A norm that holds its activation, as timm has them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.act(super().forward(x))
        return found


class Losing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), Gathering(4))

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        maps = self.body(torch.stack(images))
        if self.training:
            return {"loss": maps.mean() + torch.arange(3.0)[targets[0]["labels"]].sum()}
        return [scored(BOX, 0.5) for _ in images]


def test_norms_that_hold_modules_stay_as_in_eval_mode() -> None:
    task, model = Detection({"train": GOOD, "search": GOOD, "test": GOOD}), Losing().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        task.outputs(model, next(task.batches("search")))
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_label_that_the_detector_lacks_is_told() -> None:
    batch = ([IMAGE], [{"boxes": BOX, "labels": torch.tensor([7], dtype=torch.int32)}])
    task = Detection({"train": [batch], "search": [batch], "test": [batch]})
    (read_again,) = task.batches("train")
    assert read_again[1][0]["labels"].dtype == torch.int64
    with pytest.raises(DataError, match=r"failed on boxes with the labels 7 to 7.*background"):
        task.outputs(Losing().train(), read_again)
