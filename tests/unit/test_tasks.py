"""Tasks: whatever a user's loaders yield is used or refused in one sentence."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch._utils import ExceptionWrapper
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler, DataLoader, Subset, SubsetRandomSampler, TensorDataset
from torchvision.datasets import ImageFolder

from autoprune.agent.housing.identity import data_fingerprint
from autoprune.core.registry import Registry
from autoprune.errors import ConfigError, DataError
from autoprune.surgery.nested import tensors_in
from autoprune.tasks import TASKS, Classification, create_task
from autoprune.tasks.base import Split, check_task, identity_of
from autoprune.tasks.splits import check_separate

IMAGES, CLASSES = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 1])
GOOD = [(IMAGES, CLASSES)]
WANT = (
    "(images, classes): float images [samples, ...] and integer classes [samples]; or a mapping "
    "of the model's arguments with the classes beside them as 'labels'"
)


def with_train(train: Any) -> dict[str, Any]:
    return {"train": train, "search": GOOD, "test": GOOD}


def read(data: Any, split: Split = "train") -> list[Any]:
    return list(Classification(data).batches(split))


# --- splits


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD, "must be a mapping with the keys train, search, test, .* Got list."),
        ("train", "must be a mapping .* Got str."),
        (None, "Got NoneType."),
        (lambda: with_train(GOOD), "must be a mapping .* Got function."),
        ({}, "The data lacks the split 'train'.* mapping with train, search and test"),
        ({"train": GOOD, "search": GOOD}, "lacks the split 'test'"),
        ({"train": GOOD, "val": GOOD, "test": GOOD}, "lacks the split 'search'"),
        ({"trian": GOOD, "search": GOOD, "test": GOOD}, "'train'. Did you mean 'trian'?"),
        (with_train(None), "The train split must be a loader or list .* Got NoneType."),
        (with_train(3), "iterated over many times. Got int."),
        (with_train(iter(GOOD)), "iterated over many times. Got list_iterator."),
        (with_train(batch for batch in GOOD), "iterated over many times. Got generator."),
    ],
)
def test_data_that_is_no_three_splits(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Classification(data)


def test_an_empty_split_is_told_when_it_is_read() -> None:
    with pytest.raises(DataError, match=r"The train split is empty\. Give it at least one batch"):
        read(with_train([]))


def test_splits_beside_the_three_are_left_alone() -> None:
    assert len(read(with_train(GOOD) | {"validation": None})) == 1


# --- batches

BAD_BATCHES: list[tuple[Any, str]] = [
    (IMAGES, "float32 [4, 1, 2, 2]"),
    ({"images": IMAGES}, "{images: float32 [4, 1, 2, 2]}"),
    (None, "NoneType"),
    ((IMAGES,), "(float32 [4, 1, 2, 2])"),
    ((IMAGES, CLASSES, CLASSES), "(float32 [4, 1, 2, 2], int64 [4], int64 [4])"),
    ((CLASSES, IMAGES), "(int64 [4], float32 [4, 1, 2, 2])"),
    ((IMAGES.to(torch.uint8), CLASSES), "(uint8 [4, 1, 2, 2], int64 [4])"),
    ((IMAGES, CLASSES.float()), "(float32 [4, 1, 2, 2], float32 [4])"),
    ((IMAGES, CLASSES.bool()), "(float32 [4, 1, 2, 2], bool [4])"),
    ((IMAGES, CLASSES[:3]), "(float32 [4, 1, 2, 2], int64 [3])"),
    ((IMAGES, CLASSES[:, None]), "(float32 [4, 1, 2, 2], int64 [4, 1])"),
    ((IMAGES, torch.tensor(1)), "(float32 [4, 1, 2, 2], int64 [])"),
    ((torch.zeros(4), CLASSES), "(float32 [4], int64 [4])"),
    ((IMAGES[:0], CLASSES[:0]), "(float32 [0, 1, 2, 2], int64 [0])"),
    ((IMAGES.numpy(), CLASSES), "(ndarray, int64 [4])"),
    ((IMAGES, [0, 1, 2, 1]), "(float32 [4, 1, 2, 2], (int, int, int, int))"),
    ((IMAGES, ["cat"] * 4), "(float32 [4, 1, 2, 2], (str, str, str, str))"),
]


@pytest.mark.parametrize(("batch", "got"), BAD_BATCHES, ids=[got for _, got in BAD_BATCHES])
def test_a_batch_of_another_form_is_described(batch: Any, got: str) -> None:
    with pytest.raises(DataError) as caught:
        read(with_train([*GOOD, batch]))
    assert str(caught.value).startswith(f"The train loader must yield {WANT}. Got {got}.")


def test_floats_that_may_be_classes_get_a_hint() -> None:
    with pytest.raises(DataError, match=r"classes are floats: .* \.long\(\)\.$"):
        read(with_train([(IMAGES, CLASSES.float())]))
    with pytest.raises(DataError) as caught:
        read(with_train([(IMAGES, CLASSES.float()[:, None])]))
    assert ".long()" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "search", "test"])
def test_the_message_names_the_split(split: Split) -> None:
    with pytest.raises(DataError, match=f"The {split} loader must yield"):
        read({"train": GOOD, "search": GOOD, "test": GOOD} | {split: [IMAGES]}, split)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
@pytest.mark.parametrize("kind", [tuple, list])
def test_every_admitted_form_has_a_loss_and_a_metric(dtype: torch.dtype, kind: Any) -> None:
    task = Classification(with_train([kind((IMAGES, CLASSES.to(dtype)))]))
    (batch,) = task.batches("train")
    outputs = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]], requires_grad=True)
    loss, metric = task.loss(outputs, batch), task.metric()
    torch.testing.assert_close(loss, cross_entropy(outputs, CLASSES))
    metric.update(outputs, batch)
    assert metric.compute() == 0.75
    assert (task.samples(batch), next(tensors_in(task.inputs(batch))).shape) == (4, (4, 1, 2, 2))


def test_the_metric_weighs_samples_not_batches() -> None:
    metric = Classification(with_train(GOOD)).metric()
    for outputs, classes in (([[1, 0], [1, 0], [1, 0]], [0, 0, 0]), ([[1, 0]], [1])):
        metric.update(torch.tensor(outputs, dtype=torch.float), (None, torch.tensor(classes)))
    assert metric.compute() == 0.75


# --- loaders that fail


class Broken:
    """Yields one good batch, then raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        yield GOOD[0]
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("no such image"), KeyError("labels"), StopAsyncIteration("end")]
)
def test_what_a_loader_raises_is_told_with_its_place(error: Exception) -> None:
    with pytest.raises(DataError) as caught:
        read(with_train(Broken(error)))
    message = str(caught.value)
    assert message.startswith(f"The train loader raised {type(error).__name__}: {error}")
    assert re.search(r"\(.*test_tasks\.py, line \d+\)", message)
    assert message.endswith("Iterate over it once by hand to see where.")
    assert caught.value.__cause__ is error


def test_ctrl_c_in_a_loader_is_no_error_of_the_data() -> None:
    with pytest.raises(KeyboardInterrupt):
        read(with_train(Broken(KeyboardInterrupt())))


class Relayed:
    """Raises what a `DataLoader` raises for one of its worker processes."""

    def __iter__(self) -> Iterator[Any]:
        try:
            raise FileNotFoundError("cat.png")
        except FileNotFoundError:
            ExceptionWrapper(where="in DataLoader worker process 0").reraise()
        yield


def test_what_a_worker_process_raises_is_told_in_one_paragraph() -> None:
    with pytest.raises(DataError) as caught:
        read(with_train(Relayed()))
    assert str(caught.value) == (
        "The train loader raised FileNotFoundError: cat.png (in a worker process). "
        "Iterate over it once by hand to see where."
    )


def test_leaving_a_loader_early_is_no_error() -> None:
    batches = Classification(with_train(Broken(ValueError()))).batches("train")
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert list(batches) == []


# --- outputs


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.zeros(4, 3, 2), r"tensor \[samples, classes\], or .* 'logits'. Got \(4, 3, 2\)"),
        (torch.zeros(4), r"Got \(4,\)"),
        ((torch.zeros(4, 3), None), r"Got \(float32 \[4, 3\], NoneType\)"),
        ({"scores": torch.zeros(4, 3)}, r"Got \{scores: float32 \[4, 3\]\}"),
        (torch.zeros(3, 3), "gave 3 outputs for 4 targets"),
        (torch.zeros(4, 2), "classes 0 to 1, as the model has 2 outputs. Got 0 to 2"),
    ],
)
def test_outputs_that_do_not_fit(outputs: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Classification(with_train(GOOD)).check_outputs(outputs, GOOD[0])


def test_negative_classes_are_refused() -> None:
    task, classes = Classification(with_train(GOOD)), torch.tensor([0, 1, -1, 0])
    with pytest.raises(DataError, match="Got -1 to 1"):
        task.check_outputs(torch.zeros(4, 3), (IMAGES, classes))


def test_outputs_that_fit_pass() -> None:
    Classification(with_train(GOOD)).check_outputs(torch.zeros(4, 3), GOOD[0])


# --- the registry


def test_tasks_are_made_by_name() -> None:
    assert "classification" in list(TASKS)
    task = create_task("classification", with_train(GOOD))
    assert isinstance(task, Classification)
    assert (task.name, task.metric_name) == ("classification", "top-1")
    assert task.loader("train") is GOOD


def test_an_unknown_task_has_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"'clasification'. Did you mean 'classification'\?"):
        create_task("clasification", with_train(GOOD))


def test_a_name_is_given_once() -> None:
    registry: Registry[int] = Registry("task")
    registry.add("a", 1)
    with pytest.raises(ConfigError, match="There is a task 'a' already"):
        registry.add("a", 2)
    assert registry.get("a") == 1


@pytest.mark.parametrize(
    ("train", "remedy"),
    [
        (TensorDataset(IMAGES, CLASSES), "Wrap the dataset: torch.utils.data.DataLoader"),
        ([(IMAGES.to(torch.uint8), CLASSES)], "v2.ToDtype(torch.float32, scale=True)"),
        ([{"image": IMAGES, "label": CLASSES}], "a collate_fn that returns (images, targets)"),
    ],
    ids=["dataset", "uint8", "mapping"],
)
def test_what_is_nearly_right_is_refused_with_a_remedy(train: Any, remedy: str) -> None:
    with pytest.raises(DataError, match=re.escape(remedy)):
        read(with_train(train))


def refused(splits: dict[str, Any]) -> str:
    with pytest.raises(DataError) as told:
        check_separate(Classification(splits))
    return str(told.value)


def test_a_sample_that_two_splits_share_is_found_by_its_number_or_its_path(tmp_path: Path) -> None:
    whole = TensorDataset(torch.zeros(9, 3), torch.zeros(9, dtype=torch.int64))
    nested = Subset(Subset(whole, [6, 7, 8]), [0, 1])
    apart: dict[str, Any] = {"train": torch.arange(4), "search": torch.tensor([4, 5])}
    splits = {name: DataLoader(Subset(whole, one)) for name, one in apart.items()}
    check_separate(Classification(splits | {"test": DataLoader(nested)}))
    mixed = DataLoader(Subset(whole, [3, 4, 8]), shuffle=True)
    assert "'train' and 'test' share a sample, so" in refused(splits | {"test": mixed})
    for name in ("train/a/1.png", "val/a/1.png", "val/a/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    train, one, other = (ImageFolder(str(tmp_path / name)) for name in ("train", "val", "val"))
    splits = {"train": DataLoader(train), "search": DataLoader(one), "test": DataLoader(other)}
    assert f"'search' and 'test' share 2 samples, for instance {tmp_path}" in refused(splits)
    batches = BatchSampler(SubsetRandomSampler([0]), 1, False)
    own = {
        "search": DataLoader(one, batch_sampler=batches),
        "test": DataLoader(Subset(other, [1])),
    }
    check_separate(Classification(splits | own))
    halves = {"search": DataLoader(Subset(one, [0])), "test": DataLoader(Subset(other, [1]))}
    check_separate(Classification(splits | halves))


def test_splits_that_share_their_samples_are_refused() -> None:
    batch = [(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(DataError, match="'search' and 'test' share the same samples"):
        check_separate(Classification({"train": list(batch), "search": batch, "test": batch}))
    whole = TensorDataset(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    parts = [SubsetRandomSampler([0, 1]), SubsetRandomSampler([2]), SubsetRandomSampler([3])]
    apart: list[DataLoader[Any]] = [DataLoader(whole, sampler=part) for part in parts]
    check_separate(Classification(dict(zip(("train", "search", "test"), apart, strict=True))))
    apart[2] = DataLoader(whole)
    with pytest.raises(DataError, match="'train' and 'test' share 2 samples"):
        check_separate(Classification(dict(zip(("train", "search", "test"), apart, strict=True))))


def test_what_is_no_task_is_told_by_what_it_lacks() -> None:
    with pytest.raises(ConfigError, match=r"Got dict, which lacks name, .*LoadedTask"):
        check_task(with_train(GOOD))

    class Half:
        name = "half"
        check_outputs = Classification.check_outputs

    with pytest.raises(ConfigError, match=r"Got Half, which lacks metric_name, .*trace_inputs"):
        check_task(Half())
    check_task(Classification(with_train(GOOD)))


def test_tasks_of_ones_own_are_told_apart_by_their_code() -> None:
    class Louder(Classification):
        def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
            return 100 * super().loss(outputs, batch)

    class Softer(Classification):
        def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
            return super().loss(outputs, batch) / 100

    tasks = [kind(with_train(GOOD)) for kind in (Classification, Louder, Softer)]
    assert len({data_fingerprint(task) for task in tasks}) == 3
    assert "code" not in identity_of(tasks[0])
    assert identity_of(tasks[1]) == identity_of(Louder(with_train(GOOD)))
    smoothed = Classification(with_train(GOOD), label_smoothing=0.1)
    assert data_fingerprint(smoothed) != data_fingerprint(tasks[0])
