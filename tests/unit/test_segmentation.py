"""Segmentation: loss and metric against plain torch, and what is refused, in one sentence each."""

import json
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torchvision.models import segmentation as torchvision_models

from autoprune.errors import ConfigError, DataError
from autoprune.evaluation.measuring.divergence import divergence
from autoprune.evaluation.measuring.measure import Reading
from autoprune.tasks import HasLogits, Segmentation, create_task
from autoprune.tasks.base import SPLITS, Split

IGNORE = 255
few = settings(max_examples=40)


def images_and_masks(samples: int = 2, classes: int = 3, side: int = 4) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(samples + 10 * classes + 100 * side)
    masks = torch.randint(classes, (samples, side, side), generator=rng)
    return torch.randn(samples, 3, side, side, generator=rng), masks


GOOD = images_and_masks()


def task_of(train: Any = (GOOD,), **options: Any) -> Segmentation:
    return Segmentation({"train": train, "search": [GOOD], "test": [GOOD]}, **options)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Draw logits and masks, with pixels to be ignored and classes that are absent."""
    samples, classes = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    shape = (samples, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    masks = torch.randint(draw(st.integers(1, classes)), shape, generator=rng)
    hidden = torch.rand(shape, generator=rng) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    logits = torch.randn(samples, classes, *shape[1:], generator=rng)
    return logits, masks.masked_fill(hidden, IGNORE)


# --- loss


def plain_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean over samples of the mean over pixels, one pixel at a time."""
    found = []
    for own, mask in zip(logits, masks, strict=True):
        pixels = [
            -own[:, y, x].log_softmax(0)[mask[y, x]]
            for y, x in (mask != IGNORE).nonzero().tolist()
        ]
        found.append(torch.stack(pixels).mean() if pixels else logits.new_zeros(()))
    return torch.stack(found).mean()


@few
@given(predictions())
def test_the_loss_is_the_mean_of_the_samples_means(drawn: tuple[Tensor, Tensor]) -> None:
    logits, masks = drawn
    torch.testing.assert_close(task_of().loss(logits, (None, masks)), plain_loss(logits, masks))


def test_without_pixels_to_ignore_it_is_cross_entropy() -> None:
    _, masks = GOOD
    logits = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(task_of().loss(logits, GOOD), cross_entropy(logits, masks))


def test_pixels_to_ignore_have_no_gradient() -> None:
    masks = GOOD[1].clone()
    masks[:, 1] = IGNORE
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    task_of().loss(logits, (None, masks)).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, 1] == 0).all()
    assert (logits.grad[:, :, 0] != 0).any()


def test_a_batch_of_pixels_to_ignore_has_loss_0_and_gradient_0() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = task_of().loss(logits, (None, torch.full((2, 4, 4), IGNORE)))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("hidden", [0, 1, 7])
def test_the_loss_of_a_batch_is_that_of_its_parts(hidden: int) -> None:
    images, masks = images_and_masks(32)
    for sample in range(hidden):
        masks[sample, : sample % 4 + 1] = IGNORE
    reading = Reading(task_of(), "search", parts=4)
    reading.add(torch.randn(32, 3, 4, 4), (images, masks))
    assert reading.divides


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_masks_of_any_integer_type(dtype: torch.dtype) -> None:
    task, logits = task_of(), torch.randn(2, 3, 4, 4)
    batch = (GOOD[0], GOOD[1].to(dtype))
    torch.testing.assert_close(task.loss(logits, batch), task.loss(logits, GOOD))
    (metric, other) = task.metric(), task.metric()
    metric.update(logits, batch)
    other.update(logits, GOOD)
    assert metric.compute() == other.compute()


@pytest.mark.parametrize("ignore", [256, -1, -100])
def test_a_class_to_ignore_that_bytes_do_not_know_stands_for_no_other(ignore: int) -> None:
    images, masks = images_and_masks()
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    masks[0] = 0
    whole, bytes_ = (images, masks), (images, masks.to(torch.uint8))
    task = task_of(ignore=ignore)
    task.check_outputs(logits, (images, torch.zeros_like(bytes_[1])))
    assert torch.equal(task.loss(logits, bytes_), task.loss(logits, whole))
    assert task.classes(bytes_) == task.classes(whole)
    bytes_[1][0, 0, 0] = 255
    with pytest.raises(DataError, match="Got 0 to 255"):
        task.loss(logits, bytes_)


def test_a_class_the_model_lacks_is_told() -> None:
    with pytest.raises(DataError, match="classes 0 to 1, as the model has 2 outputs"):
        task_of().loss(torch.randn(2, 2, 4, 4), GOOD)
    images, masks = GOOD[0], GOOD[1].clone()
    masks[0, 0, 0] = -100  # what the loss would leave out is not asked for
    with pytest.raises(DataError, match=r"Got -100 to"):
        task_of(ignore=-1).loss(torch.randn(2, 3, 4, 4), (images, masks))
    assert task_of(ignore=-100).loss(torch.randn(2, 3, 4, 4), (images, masks)) > 0


# --- outputs of models


class Model(nn.Module):
    """Returns what it is told to, of outputs at half the size."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.main, self.aux = nn.Conv2d(3, 3, 1, stride=2), nn.Conv2d(3, 3, 1, stride=4)
        self.form = form

    def forward(self, pixel_values: Tensor) -> Any:
        return self.form(self.main(pixel_values), self.aux(pixel_values))


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda main, aux: main,
    "out": lambda main, aux: OrderedDict(out=main),
    "out and aux": lambda main, aux: OrderedDict(out=main, aux=aux),
    "logits": lambda main, aux: SimpleNamespace(logits=main, loss=None),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_of_every_form_are_resized_to_the_masks(form: str, training: bool) -> None:
    model, task = Model(FORMS[form]).train(training), task_of()
    found = task.outputs(model, GOOD)
    main, aux = (
        interpolate(head(GOOD[0]), (4, 4), mode="bilinear") for head in (model.main, model.aux)
    )
    wanted = cross_entropy(main, GOOD[1])
    if training and form == "out and aux":
        wanted = wanted + 0.4 * cross_entropy(aux, GOOD[1])
    torch.testing.assert_close(task.loss(found, GOOD), wanted)
    metric = task.metric()
    metric.update(found, GOOD)
    torch.testing.assert_close(metric.compute(), plain_iou(main.argmax(1), GOOD[1]))
    task.check_outputs(found, GOOD)


@pytest.mark.parametrize("form", FORMS)
def test_logits_are_those_of_the_main_output(form: str) -> None:
    model, task = Model(FORMS[form]), task_of()
    assert isinstance(task, HasLogits)
    raw, kept = model(GOOD[0]), task.outputs(model, GOOD)
    assert task.logits(kept).shape == (2, 2, 2, 3)
    torch.testing.assert_close(task.logits(kept), model.main(GOOD[0]).permute(0, 2, 3, 1))
    assert abs(divergence(task.logits(kept), task.logits(raw)).item()) < 1e-6


def test_batches_may_be_mappings() -> None:
    batch = dict(zip(("pixel_values", "labels"), GOOD, strict=True))
    task, model = task_of([batch]), Model(FORMS["logits"])
    (found,) = task.batches("train")
    assert task.samples(found) == 2
    torch.testing.assert_close(
        task.loss(task.outputs(model, found), found), task.loss(task.outputs(model, GOOD), GOOD)
    )


@pytest.mark.parametrize("auxiliary", [0.0, 0.4])
def test_the_auxiliary_output_weighs_what_is_set(auxiliary: float) -> None:
    task, model = task_of(auxiliary=auxiliary), Model(FORMS["out and aux"])
    task.loss(task.outputs(model, GOOD), GOOD).backward()
    assert model.aux.weight.grad is not None
    assert bool(model.aux.weight.grad.any()) == (auxiliary > 0)


@pytest.mark.parametrize("name", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_models_of_torchvision(name: str) -> None:
    heads = {"aux_loss": True} if name.startswith("fcn") else {}
    model = getattr(torchvision_models, name)(
        weights=None, weights_backbone=None, num_classes=3, **heads
    )
    batch = images_and_masks(side=32)
    task = task_of()
    with torch.no_grad():
        outputs = task.outputs(model.train(), batch)
        wanted = plain_loss(outputs["out"] if heads else outputs, batch[1])
        if heads:
            wanted = wanted + 0.4 * plain_loss(outputs["aux"], batch[1])
        torch.testing.assert_close(task.loss(outputs, batch), wanted)
        outputs = task.outputs(model.eval(), batch)
    task.check_outputs(outputs, batch)
    assert outputs.shape == (2, 3, 32, 32)


# --- metric


def plain_iou(predicted: Tensor, masks: Tensor) -> float:
    """Return the mean IoU, by sets of pixels."""
    counted, found = masks != IGNORE, []
    for label in range(10):
        ours, theirs = (predicted == label) & counted, (masks == label) & counted
        if (ours | theirs).any():
            found.append(float((ours & theirs).sum() / (ours | theirs).sum()))
    return sum(found) / len(found) if found else 0.0


def plain_accuracy(predicted: Tensor, masks: Tensor) -> float:
    right = (predicted == masks)[masks != IGNORE].double()
    return float(right.mean()) if len(right) else 0.0


@few
@given(predictions(), st.integers(1, 4))
def test_metrics_stream_over_batches(drawn: tuple[Tensor, Tensor], size: int) -> None:
    logits, masks = drawn
    for name, plain in (("mIoU", plain_iou), ("pixel accuracy", plain_accuracy)):
        task = task_of(metric=name)
        metric = task.metric()
        for own, mask in zip(logits.split(size), masks.split(size), strict=True):
            metric.update(own, (None, mask))
        assert metric.compute() == pytest.approx(plain(logits.argmax(1), masks), abs=1e-6)
        assert task.metric_name == name


def one_hot(predicted: list[int], classes: int = 3) -> Tensor:
    return nn.functional.one_hot(torch.tensor([[predicted]]), classes).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    ("predicted", "mask", "quality"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),  # nobody speaks of class 2
        ([0, 0, 1, 2], [0, 0, 1, 1], (1 + 0.5 + 0) / 3),  # a class wrongly seen counts
        ([0, 0, 1, 2], [0, 0, 1, IGNORE], 1.0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 0.0),
    ],
)
def test_classes_absent_from_both_masks_are_left_out(
    predicted: list[int], mask: list[int], quality: float
) -> None:
    metric = task_of().metric()
    metric.update(one_hot(predicted), (None, torch.tensor([[mask]])))
    assert metric.compute() == pytest.approx(quality)


def test_a_class_of_the_model_may_be_the_one_to_ignore() -> None:
    metric = task_of(ignore=0).metric()
    metric.update(one_hot([0, 1, 0, 2]), (None, torch.tensor([[[0, 1, 2, 2]]])))
    assert metric.compute() == pytest.approx((1 + 0.5) / 2)
    assert metric.notes() == []


def test_notes_name_the_classes_without_a_pixel() -> None:
    metric = task_of().metric()
    metric.update(one_hot([0, 0, 1, 2], 5), (None, torch.tensor([[[0, 0, 2, IGNORE]]])))
    (note,) = metric.notes()
    assert note == "no pixel of classes 1, 3 and 4"
    metric.update(one_hot([0] * 3, 5), (None, torch.tensor([[[1, 3, 4]]])))
    assert metric.notes() == []


def test_nothing_to_judge_is_0_and_noted() -> None:
    metric = task_of().metric()
    (note,) = metric.notes()
    metric.update(one_hot([0, 1]), (None, torch.full((1, 1, 2), IGNORE)))
    assert (metric.compute(), metric.notes()) == (0.0, [note])
    assert "no pixel that counts" in note


# --- what is refused

IMAGES, MASKS = GOOD
WANT = (
    "(images, masks), float images [samples, channels, h, w] and integer masks [samples, h, w], "
    "or a mapping with the masks as 'labels'"
)
BAD_BATCHES: list[tuple[Any, str]] = [
    (None, "NoneType"),
    (IMAGES, "float32 [2, 3, 4, 4]"),
    ((IMAGES,), "(float32 [2, 3, 4, 4])"),
    ((MASKS, IMAGES), "(int64 [2, 4, 4], float32 [2, 3, 4, 4])"),
    ((IMAGES, MASKS[:, None]), "(float32 [2, 3, 4, 4], int64 [2, 1, 4, 4])"),
    ((IMAGES, MASKS.float()), "(float32 [2, 3, 4, 4], float32 [2, 4, 4])"),
    ((IMAGES, MASKS > 0), "(float32 [2, 3, 4, 4], bool [2, 4, 4])"),
    ((IMAGES, MASKS[:1]), "(float32 [2, 3, 4, 4], int64 [1, 4, 4])"),
    ((IMAGES.to(torch.uint8), MASKS), "(uint8 [2, 3, 4, 4], int64 [2, 4, 4])"),
    ((IMAGES[:, 0], MASKS), "(float32 [2, 4, 4], int64 [2, 4, 4])"),
    ((IMAGES[:0], MASKS[:0]), "(float32 [0, 3, 4, 4], int64 [0, 4, 4])"),
    ((IMAGES, [1, 2]), "(float32 [2, 3, 4, 4], (int, int))"),
    ({"image": IMAGES, "mask": MASKS}, "{image: float32 [2, 3, 4, 4], mask: int64 [2, 4, 4]}"),
    ({"labels": MASKS}, "{labels: int64 [2, 4, 4]}"),
]


@pytest.mark.parametrize(("batch", "got"), BAD_BATCHES, ids=[got for _, got in BAD_BATCHES])
def test_a_batch_of_another_form_is_described(batch: Any, got: str) -> None:
    with pytest.raises(DataError) as caught:
        list(task_of([GOOD, batch]).batches("train"))
    assert str(caught.value) == f"The train loader must yield {WANT}. Got {got}."


@pytest.mark.parametrize("split", ["train", "search", "test"])
def test_masks_of_another_size_are_refused(split: Split) -> None:
    task = Segmentation(dict(zip(SPLITS, 3 * [[(IMAGES, MASKS[:, :2])]], strict=True)))
    with pytest.raises(DataError, match=f"The {split} .* masks of 2 x 4 for images of 4 x 4"):
        list(task.batches(split))


@pytest.mark.parametrize(
    ("outputs", "masks", "message"),
    [
        (torch.zeros(2, 3), MASKS, r"must return a tensor .* Got float32 \[2, 3\]"),
        (SimpleNamespace(loss=1), MASKS, "Got SimpleNamespace"),
        ({"masks": torch.zeros(2, 3)}, MASKS, r"Got \{masks: float32 \[2, 3\]\}"),
        (OrderedDict(out=torch.zeros(2, 3)), MASKS, r"Got float32 \[2, 3\]"),
        (torch.zeros(3, 3, 4, 4), MASKS, "gave 3 outputs for 2 masks"),
        (torch.zeros(2, 1, 4, 4), MASKS, "an output for each class.* 2 or more. Got 1"),
        (torch.zeros(2, 2, 4, 4), MASKS, "classes 0 to 1, as .* 2 outputs, or 255 .* Got 0 to 2"),
        (torch.zeros(2, 3, 4, 4), MASKS - 1, "classes 0 to 2.* Got -1 to 1"),
        (torch.zeros(2, 3, 4, 4), torch.full_like(MASKS, IGNORE), "hold 255 alone, the class"),
    ],
)
def test_outputs_that_do_not_fit(outputs: Any, masks: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task_of().check_outputs(outputs, (IMAGES, masks))


def test_a_model_that_gives_no_logits_is_told_of() -> None:
    task, model = task_of(), Model(lambda main, aux: (main, aux))
    with pytest.raises(DataError, match=r"must return a tensor .* or something with it as"):
        task.check_outputs(task.outputs(model, GOOD), GOOD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "miou"}, "metric must be one of mIoU, pixel accuracy. Got 'miou'"),
        ({"ignore": "background"}, "ignore must be a whole number, like 255. Got 'background'"),
        ({"ignore": True}, "Got True"),
        ({"auxiliary": -1}, "auxiliary must be a number of at least 0. Got -1"),
        ({"auxiliary": "aux"}, "auxiliary must be a number of at least 0. Got 'aux'"),
        ({"classes": 3}, "Allowed are: metric, ignore, auxiliary"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_task("segmentation", dict(zip(SPLITS, 3 * [[GOOD]], strict=True)), **options)


def test_settings_are_plain_and_tell_tasks_apart() -> None:
    assert json.loads(json.dumps(dict(task_of().settings))) == {
        "metric": "mIoU",
        "ignore": 255,
        "auxiliary": 0.4,
    }
    changed = task_of(metric="pixel accuracy", ignore=0, auxiliary=1).settings
    assert all(changed[name] != value for name, value in task_of().settings.items())
