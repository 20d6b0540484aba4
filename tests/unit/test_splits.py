"""What splits lack is told: classes, and forwards that fail on a later batch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import autoprune
from autoprune.agent.preparing.splits import what_splits_lack
from autoprune.errors import CandidateError, ModelError
from autoprune.evaluation.measuring.measure import Measurement, measure
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.surgery.discover import discover
from autoprune.tasks import HasClasses, HasLabels, Task

IMAGES = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
BOX = torch.tensor([[0.0, 0.0, 2.0, 2.0]])


def classes(*found: int) -> Tensor:
    return torch.tensor([found[at % len(found)] for at in range(4)])


def batch_of(kind: str, *found: int) -> Any:
    """Return a batch in which there are these classes, of three."""
    own = classes(*found)
    if kind == "segmentation":
        masks = own[:, None, None].expand(4, 4, 4).clone()
        masks[:, 0] = 255
        return IMAGES, masks
    if kind == "multi-label":
        return IMAGES, torch.eye(3)[own]
    if kind == "detection":
        return list(IMAGES), [{"boxes": BOX, "labels": label[None]} for label in own]
    return IMAGES, own


def task_of(kind: str, train: Any, search: Any) -> Task:
    data = {"train": train, "search": search, "test": list(search)}
    made: Task = {
        "segmentation": autoprune.Segmentation,
        "multi-label": autoprune.MultiLabel,
        "detection": autoprune.Detection,
        "classification": autoprune.Classification,
    }[kind](data)
    return made


def lacked(kind: str, train: Any, search: Any) -> list[str]:
    task = task_of(kind, train, search)
    assert isinstance(task, HasClasses)
    found = frozenset().union(*(task.classes(batch) for batch in task.batches("search")))
    samples = sum(task.samples(batch) for batch in task.batches("search"))
    labels: list[int] = []
    if isinstance(task, HasLabels):
        labels = [one for batch in task.batches("search") for one in task.labels(batch)]
    search = Measurement(1.0, 0.5, samples, 1.0, classes=found, labels=tuple(labels))
    return what_splits_lack(task, search, seed=0)


@pytest.mark.parametrize("kind", ["classification", "multi-label", "segmentation", "detection"])
def test_a_class_that_one_split_has_and_the_other_lacks_is_told(kind: str) -> None:
    all_of, two = batch_of(kind, 0, 1, 2), batch_of(kind, 0, 1)
    assert lacked(kind, [all_of], [all_of]) == []
    (train,) = lacked(kind, [two, two], [all_of])
    assert "train split has no sample of class 2 among the first 8" in train
    (search,) = lacked(kind, [all_of], [two])
    assert "search split has no sample of class 2, and the train split has" in search


def test_a_train_loader_that_is_sorted_by_class_is_told() -> None:
    shuffled = [batch_of("classification", 0, 1, 2)]
    kinds = [batch_of("classification", kind, kind) for kind in (0, 0, 1, 1, 2, 2)]
    border = batch_of("classification", 0, 1)
    (told,) = lacked("classification", [*kinds[:2], border, *kinds[2:]], shuffled)
    assert "sorted by class, as its first 24 tell" in told
    assert lacked("classification", [kinds[0]] * 9 + shuffled, shuffled) == [], "mostly one class"
    assert lacked("classification", shuffled * 9, shuffled) == []
    several = [batch_of("multi-label", kind) for kind in (0, 0, 1, 1, 2, 2)]
    assert lacked("multi-label", several, several) == [], "their samples may have several"


@pytest.mark.parametrize(("kinds", "each"), [(2, 20), (10, 50), (10, 3), (200, 5), (50, 3)])
def test_a_search_split_that_is_sorted_by_class_is_told(kinds: int, each: int) -> None:
    labels = [kind for kind in range(kinds) for _ in range(each)]
    (told,) = sorted_ones(labels)
    assert "search split is sorted by class" in told
    assert "manual_seed(0)" in told, "the order has to be the same when the run is gone on with"
    assert sorted_ones([*np.random.default_rng(0).permutation(labels)]) == []
    assert sorted_ones([0] * 50) == [], "one class has no order"
    assert sorted_ones([0]) == []


def sorted_ones(labels: list[int]) -> list[str]:
    task = task_of("classification", [batch_of("classification", 0)], [IMAGES])
    search = Measurement(
        1.0, 0.5, len(labels), 1.0, classes=frozenset(labels), labels=tuple(labels)
    )
    return [one for one in what_splits_lack(task, search, seed=0) if "search split is so" in one]


@given(st.integers(0, 2**32 - 1), st.integers(2, 200), st.integers(2, 300))
def test_shuffled_samples_are_hardly_ever_called_sorted(seed: int, kinds: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = (rng.choice(kinds, count, p=rng.dirichlet(np.full(kinds, 0.3))) for _ in range(20))
    assert sum(bool(sorted_ones(labels.tolist())) for labels in drawn) <= 1


def test_training_samples_are_looked_through_until_all_classes_are_found() -> None:
    seen = []

    class Batches(list[Any]):
        def __iter__(self) -> Any:
            for number, batch in enumerate(list.__iter__(self)):
                seen.append(number)
                yield batch

    one, other = batch_of("classification", 0, 1), batch_of("classification", 1, 2)
    both = batch_of("classification", 0, 1, 2)
    assert lacked("classification", Batches([one, one, other, one, one]), [both]) == []
    assert seen == [0, 1, 2]
    seen.clear()
    (told,) = lacked("classification", Batches([one] * 30), [both])
    assert "class 2 among the first 40" in told
    assert seen == [*range(10)], "no more than ten times the samples of the search split"


def test_what_a_metric_noted_is_not_told_twice() -> None:
    task = task_of("classification", [batch_of("classification", 0, 1)], [IMAGES])
    noted = Measurement(1.0, 0.5, 4, 1.0, ("no sample of class 1",), frozenset({0}))
    (told,) = what_splits_lack(task, noted, seed=0)
    assert told.startswith("The search split has no sample of class 1. What candidates lose")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


@pytest.mark.parametrize("images", [IMAGES[:, :2], IMAGES.double()], ids=["channels", "double"])
def test_a_forward_that_fails_on_a_later_batch_is_told(images: Tensor) -> None:
    good, bad = (IMAGES, classes(0, 1)), (images, classes(0, 1))
    task, model = task_of("classification", [good, bad], [good, bad]), net()
    with pytest.raises(ModelError, match=r"failed on a search batch, inputs \(4, [23], 4, 4\)"):
        measure(model, task, "search", "cpu")
    plan = discover(model, [IMAGES], np.random.default_rng(0))
    with pytest.raises(ModelError, match="failed on a train batch"):
        rank_atoms(model, plan, task, ["channel.taylor"], 2, "cpu", 0)


def test_a_loss_that_is_no_number_is_told_before_a_metric_stumbles_over_it() -> None:
    task = task_of("classification", [(IMAGES, classes(0))], [(IMAGES * torch.nan, classes(0))])
    with pytest.raises(CandidateError, match="loss on the search split is nan"):
        measure(net(), task, "search", "cpu")
