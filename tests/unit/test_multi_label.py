"""Multi-label: what its loss and metrics are, and what it refuses."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from autoprune.agent.housing.identity import data_fingerprint
from autoprune.errors import ConfigError, DataError
from autoprune.evaluation.measuring.measure import Reading, measure
from autoprune.tasks import HasLogits, MultiLabel, create_task, need_logits

IMAGES = torch.zeros(4, 1, 2, 2)
TARGETS = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 1]])
GOOD = [(IMAGES, TARGETS)]
patient = settings(max_examples=50)


def over(batches: Any) -> dict[str, Any]:
    return {"train": batches, "search": GOOD, "test": GOOD}


def task_of(**settings: Any) -> MultiLabel:
    return MultiLabel(over(GOOD), **settings)


@st.composite
def samples(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Logits, some of them tied, targets of rare and frequent classes, and a size of batches."""
    count, classes = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    logits = 4 * torch.randn(count, classes, generator=rng)
    logits = logits.round() if draw(st.booleans()) else logits
    often = torch.rand(classes, generator=rng)
    targets = (torch.rand(count, classes, generator=rng) < often).long()
    return logits, targets, draw(st.integers(1, count))


def metric_of(task: MultiLabel, logits: Tensor, targets: Tensor, size: int) -> float:
    metric = task.metric()
    for own in zip(logits.split(size), targets.split(size), strict=True):
        metric.update(own[0], (None, own[1]))
    return metric.compute()


# --- the metric


@patient
@given(samples())
def test_map_is_scikit_learns_however_samples_are_batched(
    drawn: tuple[Tensor, Tensor, int],
) -> None:
    logits, targets, size = drawn
    with_positives = [c for c in range(targets.shape[1]) if targets[:, c].any()]
    theirs = [average_precision_score(targets[:, c], logits[:, c]) for c in with_positives]
    want = sum(theirs) / len(theirs) if theirs else 0.0
    assert metric_of(task_of(), logits, targets, size) == pytest.approx(want, abs=1e-5)


@patient
@given(samples())
def test_f1_is_scikit_learns_however_samples_are_batched(
    drawn: tuple[Tensor, Tensor, int],
) -> None:
    logits, targets, size = drawn
    with_positives = [c for c in range(targets.shape[1]) if targets[:, c].any()]
    theirs = [f1_score(targets[:, c].numpy(), (logits[:, c] > 0).numpy()) for c in with_positives]
    want = sum(theirs) / len(theirs) if theirs else 0.0
    found = metric_of(task_of(metric="f1"), logits, targets, size)
    assert found == pytest.approx(want, abs=1e-6)


def test_confident_logits_are_still_ranked() -> None:
    logits = torch.tensor([[30.0], [25.0], [20.0]])
    assert metric_of(task_of(), logits, torch.tensor([[1], [0], [0]]), 3) == 1
    assert metric_of(task_of(), logits, torch.tensor([[0], [0], [1]]), 3) == pytest.approx(1 / 3)


def test_logits_that_look_like_probabilities_are_logits_all_the_same() -> None:
    logits = torch.tensor([[0.3, 0.4], [0.2, 0.1]])  # all are more probable than not
    assert metric_of(task_of(metric="f1"), logits, torch.ones(2, 2), 2) == 1


# --- the loss


@patient
@given(samples(), st.booleans())
def test_the_loss_is_a_mean_over_samples(
    drawn: tuple[Tensor, Tensor, int], weighted: bool
) -> None:
    logits, targets, size = drawn
    weights = [0.5 + number for number in range(targets.shape[1])] if weighted else None
    task = task_of(positive_weights=weights)
    factor = torch.ones(targets.shape[1]) if weights is None else torch.tensor(weights)
    each = binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
    each = torch.where(targets == 1, factor * each, each)
    whole = task.loss(logits, (None, targets))
    torch.testing.assert_close(whole, each.mean())
    parts = zip(logits.split(size), targets.split(size), strict=True)
    sums = [task.loss(one, (None, own)) * len(own) for one, own in parts]
    torch.testing.assert_close(torch.stack(sums).sum() / len(targets), whole)


def test_the_loss_divides_and_the_metric_does_not() -> None:
    rng = torch.Generator().manual_seed(0)
    batch = (torch.zeros(32, 1), torch.randint(2, (32, 3), generator=rng))
    logits = torch.randn(32, 3, generator=rng)
    for score_by, divides in (("loss", True), ("metric", False)):
        reading = Reading(task_of(), "search", score_by, parts=4)  # type: ignore[arg-type]
        reading.add(logits, batch)
        assert reading.divides is divides


def test_balanced_weights_give_positives_and_negatives_the_same_sum() -> None:
    rare = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0]])
    batches = [(IMAGES[:3], rare), (IMAGES[:1], torch.tensor([[0, 1, 0, 1]]))]
    task = MultiLabel(over(batches), positive_weights="balanced")
    want = binary_cross_entropy_with_logits(
        logits := torch.randn(3, 4), rare.float(), pos_weight=torch.tensor([3, 1, 1, 1 / 3])
    )
    torch.testing.assert_close(task.loss(logits, (None, rare)), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_targets_of_every_type_mean_the_same(dtype: torch.dtype) -> None:
    (batch,) = MultiLabel(over([(IMAGES, TARGETS.to(dtype))])).batches("train")
    logits = torch.tensor([[2.0, -1, 0.5], [1, 0, -2], [0.1, 3, 1], [-1, 1, 2]])
    assert task_of().loss(logits, batch) == task_of().loss(logits, GOOD[0])
    assert metric_of(task_of(), logits, batch[1], 2) == metric_of(task_of(), logits, TARGETS, 4)


# --- what is refused


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ((IMAGES, TARGETS[:, 0]), "(float32 [4, 1, 2, 2], int64 [4])"),
        ((IMAGES, TARGETS[:3]), "(float32 [4, 1, 2, 2], int64 [3, 3])"),
        ({"x": IMAGES, "y": TARGETS}, "{x: float32 [4, 1, 2, 2], y: int64 [4, 3]}"),
    ],
)
def test_a_batch_of_another_form_is_described(batch: Any, got: str) -> None:
    with pytest.raises(DataError) as caught:
        list(MultiLabel(over([batch])).batches("train"))
    assert str(caught.value).startswith(
        "The train loader must yield (images, targets): float images [samples, ...] and targets "
        "[samples, classes] of 0 and 1; or a mapping of the model's arguments with the targets "
        f"beside them as 'labels'. Got {got}."
    )


@pytest.mark.parametrize(
    ("targets", "odd"), [(TARGETS - 1, "-1"), (TARGETS * 0.5, "0.5"), (TARGETS / 0, "inf|nan")]
)
def test_targets_that_are_neither_0_nor_1_are_told(targets: torch.Tensor, odd: str) -> None:
    with pytest.raises(DataError, match=rf"train targets must be 0 and 1.* of 12 .* ({odd}) for"):
        list(MultiLabel(over([(IMAGES, targets)])).batches("train"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"metric": "mAP"}, r"metric must be 'map' or 'f1'\. Got 'mAP'\. Did you mean 'map'\?"),
        ({"metric": ["f1"]}, r"metric must be 'map' or 'f1'\. Got \['f1'\]"),
        ({"positive_weights": [1, -1]}, r"positive_weights must be .* Got \[1, -1\]\."),
        ({"class_weights": [1, 1]}, "cannot be set up so: .* Allowed are: metric, positive_wei"),
    ],
)
def test_settings_without_a_meaning(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_task("multi-label", over(GOOD), **setting)


def test_outputs_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="2 outputs for targets of 3 classes"):
        task_of().check_outputs(torch.zeros(4, 2), GOOD[0])
    with pytest.raises(DataError, match="2 outputs for targets of 3 classes"):
        task_of().loss(torch.zeros(4, 2), GOOD[0])
    with pytest.raises(DataError, match="gave 3 outputs for 4 targets"):
        task_of().check_outputs(torch.zeros(3, 3), GOOD[0])
    with pytest.raises(ConfigError, match="positive_weights must have one weight for each"):
        task_of(positive_weights=[1, 2]).check_outputs(torch.zeros(4, 3), GOOD[0])
    task_of(positive_weights=[1, 2, 3]).check_outputs(torch.zeros(4, 3), GOOD[0])


def test_there_is_no_softmax_to_compare() -> None:
    assert not isinstance(task_of(), HasLogits)
    with pytest.raises(ConfigError, match=r"recovery\.distill compares outputs .* 'multi-label'"):
        need_logits(task_of(), "recovery.distill")


# --- settings and notes


def test_settings_are_told_and_keep_scores_apart() -> None:
    assert (task_of().settings, task_of().metric_name) == ({}, "mAP")
    task = task_of(metric="f1", positive_weights=(1, 2, 3))
    assert task.settings == {"metric": "f1", "positive_weights": [1.0, 2.0, 3.0]}
    assert task.metric_name == "F1"
    tasks = [task, task_of(), task_of(metric="f1"), task_of(positive_weights="balanced")]
    assert len({data_fingerprint(one) for one in tasks}) == 4


@pytest.mark.parametrize(
    ("targets", "notes"),
    [
        ([[1, 0], [0, 1]], []),
        ([[1, 0], [1, 0]], ["no positive sample of class 1"]),
        ([[0, 0], [0, 0]], ["no positive sample of classes 0 and 1"]),
    ],
)
def test_classes_without_positives_are_noted(targets: Any, notes: list[str]) -> None:
    batches = [(torch.ones(1, 2), torch.tensor([own])) for own in targets]
    data = over(GOOD) | {"search": batches}
    assert measure(nn.Linear(2, 2), MultiLabel(data), "search", "cpu").notes == tuple(notes)
