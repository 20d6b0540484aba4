"""Classification: what its loss and metric are, whatever models and loaders give."""

from collections import OrderedDict, UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from autoprune.agent.housing.identity import data_fingerprint
from autoprune.errors import AutopruneError, ConfigError, DataError
from autoprune.evaluation.measuring.measure import Reading, measure
from autoprune.surgery.nested import tensors_in
from autoprune.tasks import Classification, create_task

IMAGES, CLASSES = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 1])
GOOD = [(IMAGES, CLASSES)]
patient = settings(max_examples=50)


def over(batches: Any) -> dict[str, Any]:
    return {"train": batches, "search": GOOD, "test": GOOD}


def task_of(**settings: Any) -> Classification:
    return Classification(over(GOOD), **settings)


@st.composite
def samples(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Logits without ties, their classes, and into how many samples to cut batches."""
    count, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    most = draw(st.integers(1, classes))  # classes that occur
    labels = torch.randint(most, (count,), generator=rng)
    return torch.randn(count, classes, generator=rng), labels, draw(st.integers(1, count))


def metric_of(task: Classification, logits: Tensor, classes: Tensor, size: int) -> float:
    metric = task.metric()
    for own in zip(logits.split(size), classes.split(size), strict=True):
        metric.update(own[0], (None, own[1]))
    return metric.compute()


# --- the metric


@patient
@given(samples(), st.integers(1, 5))
def test_top_k_is_scikit_learns_however_samples_are_batched(
    drawn: tuple[Tensor, Tensor, int], top_k: int
) -> None:
    logits, classes, size = drawn
    top_k = min(top_k, logits.shape[1])
    found = metric_of(task_of(top_k=top_k), logits, classes, size)
    ranks = (logits > logits.gather(1, classes[:, None])).sum(1)
    assert found == pytest.approx((ranks < top_k).double().mean().item(), abs=1e-12)
    theirs = MulticlassAccuracy(logits.shape[1], top_k=top_k, average="micro")(logits, classes)
    assert found == pytest.approx(float(theirs), abs=1e-6)
    if logits.shape[1] > max(2, top_k):
        every = range(logits.shape[1])
        assert found == pytest.approx(
            top_k_accuracy_score(classes, logits, k=top_k, labels=[*every])
        )


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@patient
@given(samples())
def test_balanced_accuracy_is_scikit_learns(drawn: tuple[Tensor, Tensor, int]) -> None:
    logits, classes, size = drawn
    found = metric_of(task_of(balanced=True), logits, classes, size)
    assert found == pytest.approx(balanced_accuracy_score(classes, logits.argmax(1)), abs=1e-12)


def test_a_class_without_samples_is_left_out_also_when_it_is_predicted() -> None:
    logits = torch.eye(3)[[0, 2, 1]]
    assert metric_of(task_of(balanced=True), logits, torch.tensor([0, 0, 1]), 3) == 0.75
    theirs = MulticlassAccuracy(3, average="macro")(logits, torch.tensor([0, 0, 1]))
    assert theirs == pytest.approx(0.5), "torchmetrics counts it: we need not do so ourselves now"


def test_balanced_top_k_is_the_mean_over_classes() -> None:
    logits = torch.tensor([[3.0, 2, 1], [3, 2, 1], [1, 2, 3], [3, 2, 1]])
    task = task_of(top_k=2, balanced=True)
    assert metric_of(task, logits, torch.tensor([0, 0, 0, 1]), 4) == (2 / 3 + 1) / 2
    assert task.metric_name == "balanced top-2"


# --- the loss


@patient
@given(samples(), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_the_loss_is_a_mean_over_samples(
    drawn: tuple[Tensor, Tensor, int], weighted: bool, smoothing: float
) -> None:
    logits, classes, size = drawn
    count = logits.shape[1]
    weights = [0.5 + number for number in range(count)] if weighted else None
    task = task_of(class_weights=weights, label_smoothing=smoothing)
    one_by_one = cross_entropy(
        logits,
        classes,
        None if weights is None else torch.tensor(weights),
        reduction="none",
        label_smoothing=smoothing,
    )
    whole = task.loss(logits, (None, classes))
    torch.testing.assert_close(whole, one_by_one.mean())
    parts = zip(logits.split(size), classes.split(size), strict=True)
    sums = [task.loss(one, (None, own)) * len(own) for one, own in parts]
    torch.testing.assert_close(torch.stack(sums).sum() / len(classes), whole)


@pytest.mark.parametrize("score_by", ["loss", "metric"])
@pytest.mark.parametrize("weights", [None, [1.0, 9.0, 2.0]])
def test_a_batch_may_be_compared_by_its_parts(score_by: Any, weights: Any) -> None:
    rng = torch.Generator().manual_seed(0)
    classes = torch.tensor([0] * 28 + [1] * 2 + [2] * 2)
    reading = Reading(task_of(class_weights=weights), "search", score_by, parts=4)
    reading.add(torch.randn(32, 3, generator=rng), (torch.zeros(32, 1), classes))
    assert reading.divides


def test_balanced_accuracy_is_no_mean_over_samples() -> None:
    rng = torch.Generator().manual_seed(0)
    classes = torch.tensor([0] * 28 + [1] * 2 + [2] * 2)
    reading = Reading(task_of(balanced=True), "search", "metric", parts=4)
    reading.add(torch.randn(32, 3, generator=rng), (torch.zeros(32, 1), classes))
    assert not reading.divides


def test_balanced_weights_are_scikit_learns() -> None:
    batches = [(torch.zeros(5, 2), torch.tensor([0, 0, 0, 2, 0])), (IMAGES[:1], CLASSES[:1])]
    task = Classification(over(batches), class_weights="balanced")
    even = compute_class_weight(
        "balanced", classes=np.array([0, 2]), y=np.array([0, 0, 0, 2, 0, 0])
    )
    for one, weight in ((0, even[0]), (2, even[1]), (1, 1.0), (3, 1.0)):
        classes, logits = torch.tensor([one]), torch.randn(1, 4)
        found = task.loss(logits, (None, classes))
        torch.testing.assert_close(found, weight * cross_entropy(logits, classes))


def test_counting_leaves_no_trace_and_is_repeated_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []  # that CUDA would go on with
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    few = TensorDataset(torch.zeros(20, 2), torch.arange(20) % 3)
    loader = DataLoader(few, 6, shuffle=True, drop_last=True)
    state = torch.get_rng_state()
    one, other = (Classification(over(loader), class_weights="balanced") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert seeds == []
    logits, batch = torch.randn(3, 3), (None, torch.arange(3))
    assert one.loss(logits, batch) == other.loss(logits, batch)


# --- settings


def test_defaults_change_nothing() -> None:
    assert task_of().settings == {}
    assert task_of(top_k=1, balanced=False, class_weights=None, label_smoothing=0).settings == {}
    assert task_of().metric_name == "top-1"


def test_settings_are_told_and_keep_scores_apart() -> None:
    given = {
        "top_k": 2,
        "balanced": True,
        "class_weights": [1.0, 2.0, 0.5],
        "label_smoothing": 0.1,
    }
    task = task_of(**given | {"class_weights": torch.tensor([1, 2, 0.5])})
    assert task.settings == given
    assert task_of(class_weights="balanced").settings == {"class_weights": "balanced"}
    told = {data_fingerprint(task_of(**{name: value})) for name, value in given.items()}
    assert len(told | {data_fingerprint(task_of())}) == 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"top_k": 0}, "top_k must be a whole number of at least 1. Got 0."),
        ({"top_k": "5"}, "top_k must be a whole number of at least 1. Got '5'."),
        ({"top_k": True}, "top_k must be a whole number of at least 1. Got True."),
        ({"balanced": "yes"}, "balanced must be true or false. Got 'yes'."),
        ({"label_smoothing": 1}, "label_smoothing must be a number from 0 to less than 1. Got 1."),
        ({"label_smoothing": -0.1}, "label_smoothing must be .* Got -0.1."),
        ({"label_smoothing": float("nan")}, "label_smoothing must be .* Got nan."),
        ({"class_weights": "even"}, "class_weights must be 'balanced' or a list .* Got 'even'."),
        ({"class_weights": []}, "one for each class. Got \\[\\]."),
        ({"class_weights": [1, 0]}, "list of positive numbers, .* Got \\[1, 0\\]."),
        ({"class_weights": [1, float("inf")]}, "Got \\[1, inf\\]."),
        ({"class_weights": [1, "2"]}, "Got \\[1, '2'\\]."),
        ({"class_weights": 3}, "Got 3."),
        ({"weights": [1, 2]}, "cannot be set up so: .*'weights'.* Allowed are: top_k, balanced"),
    ],
)
def test_settings_without_a_meaning(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_task("classification", over(GOOD), **setting)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"top_k": 3}, ConfigError, "top_k must be less than the number of outputs, 3, .* Got 3."),
        ({"class_weights": [1, 2]}, ConfigError, "one weight for each of the model's 3 .* Got 2."),
        ({"class_weights": [1, 2, 3, 4]}, ConfigError, "Got 4."),
    ],
)
def test_settings_that_do_not_fit_the_model(
    setting: dict[str, Any], error: type[AutopruneError], message: str
) -> None:
    with pytest.raises(error, match=message):
        task_of(**setting).check_outputs(torch.zeros(4, 3), GOOD[0])


def test_balanced_weights_of_classes_that_the_model_lacks() -> None:
    task = Classification(over([(IMAGES, CLASSES + 5)]), class_weights="balanced")
    with pytest.raises(DataError, match=r"as the model has 3 outputs.* Got 0 to 7"):
        task.check_outputs(torch.zeros(4, 3), GOOD[0])
    with pytest.raises(DataError, match=r"classes from 0 on.* Got -1"):
        Classification(over([(IMAGES, CLASSES - 1)]), class_weights="balanced")


@pytest.mark.parametrize("odd", [-100, 3])
def test_a_target_outside_of_the_classes_is_told_in_every_batch(odd: int) -> None:
    classes = CLASSES.clone()
    classes[1] = odd
    with pytest.raises(DataError, match=rf"classes 0 to 2.* Got .*{odd}"):
        task_of().loss(torch.zeros(len(CLASSES), 3), (IMAGES, classes))


# --- what models give


class Named(NamedTuple):
    """As torchvision's `InceptionOutputs`."""

    logits: Any
    aux_logits: Any


@dataclass
class Output:
    """As somebody's own output class."""

    logits: Any
    loss: Any = None


class Head(nn.Module):
    """Gives its logits, and in training auxiliary ones, in some form."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(4, 3), form

    def forward(self, pixel_values: Tensor, mask: Tensor | None = None) -> Any:
        logits = self.layer(pixel_values.flatten(1))
        return self.form(logits if mask is None else logits * mask)


FORMS: list[Callable[[Tensor], Any]] = [
    lambda logits: logits,
    lambda logits: Named(logits, None),
    lambda logits: Output(logits),
    lambda logits: {"loss": None, "logits": logits, "hidden_states": (torch.zeros(1),)},
    lambda logits: OrderedDict(logits=logits, aux_loss=torch.tensor(7.0)),
    lambda logits: {"out": logits},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_found_in_what_models_give(form: Any, training: bool) -> None:
    images = torch.randn(4, 1, 2, 2)
    model, batch = Head(form).train(training), (images, CLASSES)
    task = task_of()
    outputs, plain = task.outputs(model, batch), model.layer(images.flatten(1))
    task.check_outputs(outputs, batch)
    torch.testing.assert_close(task.loss(outputs, batch), cross_entropy(plain, CLASSES))
    assert torch.equal(task.logits(form(plain)), plain), "distillation asks the plain forward"
    metric = task.metric()
    metric.update(outputs, batch)
    assert metric.compute() == (plain.argmax(1) == CLASSES).double().mean()


@pytest.mark.parametrize(
    "form", [lambda x: Named(x, 2 * x), lambda x: {"logits": x, "aux_1": 2 * x, "loss": x}]
)
def test_auxiliary_heads_are_trained_and_do_not_score(form: Any) -> None:
    model, batch, task = Head(form), (torch.randn(4, 1, 2, 2), CLASSES), task_of()
    plain = model.layer(batch[0].flatten(1))
    alone, auxiliary = cross_entropy(plain, CLASSES), cross_entropy(2 * plain, CLASSES)
    loss = task.loss(task.outputs(model, batch), batch)
    torch.testing.assert_close(loss, alone + 0.3 * auxiliary)
    torch.testing.assert_close(task.loss(task.outputs(model.eval(), batch), batch), alone)


@pytest.mark.slow
def test_torchvisions_googlenet_trains_all_its_heads() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.googlenet(init_weights=False, num_classes=3)
    batch, task = (torch.randn(4, 3, 64, 64), CLASSES), task_of()
    outputs = task.outputs(model.train(), batch)
    both = (outputs.aux_logits1, outputs.aux_logits2)
    want = cross_entropy(outputs.logits, CLASSES)
    want = want + 0.3 * sum(cross_entropy(one, CLASSES) for one in both)
    loss = task.loss(outputs, batch)
    torch.testing.assert_close(loss, want)
    loss.backward()
    assert model.aux1.fc2.weight.grad.abs().sum() > 0
    assert isinstance(task.outputs(model.eval(), batch), Tensor)


# --- what loaders yield


def test_a_mapping_batch_goes_to_the_model_by_name() -> None:
    batch = {"pixel_values": torch.randn(4, 1, 2, 2), "labels": CLASSES, "mask": torch.zeros(4, 3)}
    task = Classification(over([batch]))
    (got,) = task.batches("train")
    outputs = task.outputs(Head(FORMS[3]).eval(), got)
    assert torch.equal(outputs, torch.zeros(4, 3)), "the mask was not handed over"
    assert task.samples(got) == 4
    assert task.loss(outputs, got).item() == pytest.approx(torch.tensor(3.0).log().item())


def test_mappings_that_pytorch_does_not_look_into_become_dicts() -> None:
    batch = UserDict(pixel_values=IMAGES, labels=CLASSES)  # as Hugging Face's BatchFeature
    (got,) = Classification(over([batch])).batches("train")
    assert len(list(tensors_in(got))) == 2


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ({"pixel_values": IMAGES}, "{pixel_values: float32 [4, 1, 2, 2]}"),
        ({"labels": CLASSES}, "{labels: int64 [4]}"),
        (
            {"pixel_values": IMAGES[:3], "labels": CLASSES},
            "{pixel_values: float32 [3, 1, 2, 2], labels: int64 [4]}",
        ),
        (
            {"pixel_values": IMAGES, "labels": CLASSES.float()},
            "{pixel_values: float32 [4, 1, 2, 2], labels: float32 [4]}",
        ),
    ],
)
def test_mapping_batches_of_another_form_are_described(batch: Any, got: str) -> None:
    with pytest.raises(DataError) as caught:
        list(Classification(over([batch])).batches("train"))
    assert f"beside them as 'labels'. Got {got}." in str(caught.value)


# --- notes


@pytest.mark.parametrize(
    ("classes", "notes"),
    [
        ([0, 1, 2, 3], []),
        ([0, 1, 3], ["no sample of class 2"]),
        ([3, 1], ["no sample of classes 0 and 2"]),
        ([2, 2], ["no sample but of class 2, of 4 classes"]),
    ],
)
def test_classes_that_a_split_lacks_are_noted(classes: list[int], notes: list[str]) -> None:
    data = over(GOOD) | {"search": [(torch.zeros(1, 4), torch.tensor([c])) for c in classes]}
    found = measure(nn.Linear(4, 4), Classification(data), "search", "cpu")
    assert found.notes == tuple(notes)


def test_of_many_absent_classes_a_few_are_named() -> None:
    metric = task_of().metric()
    metric.update(torch.zeros(2, 100), (None, torch.tensor([1, 2])))
    assert metric.notes() == ["no sample of 98 classes (0, 3, 4, 5, 6, 7, ...)"]


@patient
@given(samples())
def test_notes_are_the_same_however_samples_are_batched(drawn: tuple[Tensor, Tensor, int]) -> None:
    logits, classes, size = drawn
    whole, cut = task_of().metric(), task_of().metric()
    whole.update(logits, (None, classes))
    for own in zip(logits.split(size), classes.split(size), strict=True):
        cut.update(own[0], (None, own[1]))
    assert whole.notes() == cut.notes()
    assert bool(whole.notes()) == (len(classes.unique()) < logits.shape[1])
