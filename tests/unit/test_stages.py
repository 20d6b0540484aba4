"""Stages: values of small parts of the split, for paired tests."""

from collections import OrderedDict, UserDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autoprune.core.recovery import ScoreBy
from autoprune.core.stages import MOST_VALUES, Stage
from autoprune.errors import DataError
from autoprune.evaluation.measuring.parts import LEAST_SAMPLES, parts_of
from autoprune.evaluation.measuring.search_split import SearchSplit
from autoprune.tasks import Classification, LoadedTask

SIZE = 5 * LEAST_SAMPLES  # of a batch


class Scaled(nn.Module):
    """The images are the logits, times a number; ``wrap`` makes outputs of them."""

    def __init__(self, factor: float, wrap: Callable[[Tensor], Any] = lambda outputs: outputs):
        super().__init__()
        self.factor, self.wrap = factor, wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.factor * images)


class InDict(Classification):
    """Outputs come in a mapping, and stay in it."""

    outputs = LoadedTask.outputs

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        return super().loss(outputs["out"], batch)

    def metric(self) -> Any:
        return updating(super().metric(), lambda outputs: outputs["out"])


class OverPairs(Classification):
    """The loss looks at pairs of samples, so it is no mean over them."""

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        gaps = outputs[:, None] - outputs[None]
        found: Tensor = gaps.square().sum(-1).mean()
        return found


class Weighted(Classification):
    """The mean is by the weights of classes, so it is none over the samples."""

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        return cross_entropy(outputs, batch[1], torch.tensor([1.0, 2.0, 5.0]))


class Picky(Classification):
    """The metric wants more samples than a part has."""

    def metric(self) -> Any:
        def checked(outputs: Tensor) -> Tensor:
            assert len(outputs) >= SIZE
            return outputs

        return updating(super().metric(), checked)


def updating(metric: Any, change: Callable[[Any], Any]) -> Any:
    update = metric.update
    metric.update = lambda outputs, batch: update(change(outputs), batch)
    return metric


def stage(
    kind: type[Classification],
    score_by: ScoreBy,
    *sizes: int,
    factor: float = 0.5,
    wrap: Callable[[Tensor], Any] = lambda outputs: outputs,
) -> Stage:
    rng = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(n, 3, generator=rng), torch.randint(3, (n,), generator=rng)) for n in sizes
    ]
    task = kind({"train": [], "search": batches, "test": []})
    split = SearchSplit(task, Scaled(1.0, wrap), score_by, 0, "cpu")
    reading = split.reading()
    split.extend(reading, Scaled(factor, wrap), 1.0)
    return reading.stage(3)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=1, max_size=300))
def test_the_mean_of_the_values_is_the_value(parts: list[tuple[float, int]]) -> None:
    means, counts = zip(*parts, strict=True)
    found = Stage.of(1, means, counts, float(np.average(means, weights=counts)), 0.5)
    assert len(found.values) == min(len(parts), MOST_VALUES)
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4, abs=1e-6)
    assert found.samples == sum(counts)


@given(samples=st.integers(1, 300), most=st.integers(1, 80))
def test_no_part_has_fewer_samples_than_it_should_and_none_is_lost(
    samples: int, most: int
) -> None:
    batch = (torch.arange(samples), [str(at) for at in range(samples)])
    parts = parts_of(samples, most, batch, {"out": torch.arange(samples)})
    assert len(parts) != 1
    assert len(parts) <= most
    for (numbers, _), out in parts:
        assert len(numbers) >= LEAST_SAMPLES
        assert (numbers == out["out"]).all()
    if parts:
        assert torch.cat([numbers for (numbers, _), _ in parts]).tolist() == [*range(samples)]
        assert [name for (_, names), _ in parts for name in names] == batch[1]
    else:
        assert min(most, samples // LEAST_SAMPLES) < 2


@pytest.mark.parametrize("score_by", ["loss", "metric", "kl"])
def test_one_batch_gives_many_values(score_by: ScoreBy) -> None:
    found = stage(Classification, score_by, SIZE, factor=-1.0)
    assert len(found.values) == 5
    assert len(set(found.values)) > 1
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4)


def test_many_batches_are_not_cut() -> None:
    assert len(stage(Classification, "loss", *[SIZE] * MOST_VALUES).values) == MOST_VALUES


@pytest.mark.parametrize(
    ("kind", "count"), [(dict, 10), (OrderedDict, 10), (UserDict, 2)], ids=lambda one: str(one)
)
def test_outputs_of_kinds_that_cannot_be_made_anew_are_not_cut(kind: Any, count: int) -> None:
    found = stage(InDict, "loss", SIZE, SIZE, wrap=lambda outputs: kind(out=outputs))
    assert len(found.values) == count
    assert found.value == stage(Classification, "loss", SIZE, SIZE).value


@pytest.mark.parametrize("kind", [OverPairs, Weighted])
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_a_loss_that_is_no_mean_over_samples_has_one_value_for_each_batch(
    kind: type[Classification], factor: float
) -> None:
    """Whatever the candidate: it is the dense model that decides, so all are comparable."""
    found = stage(kind, "loss", SIZE, 2 * SIZE, factor=factor)
    assert len(found.values) == 2
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4)


def test_a_metric_that_needs_many_samples_has_one_value_for_each_batch() -> None:
    assert len(stage(Picky, "metric", SIZE, 2 * SIZE).values) == 2


class Unruly(list[Any]):
    """Batches that come in another order in each pass, whatever PyTorch's seed is."""

    def __iter__(self) -> Any:
        self.append(self.pop(0))
        return super().__iter__()


def test_a_divergence_is_taken_on_the_same_samples_or_not_at_all() -> None:
    images = torch.randn(4, SIZE, 3, generator=torch.Generator().manual_seed(0))
    batches = [(one, torch.zeros(SIZE, dtype=torch.int64)) for one in images]
    data = {"train": batches, "search": Unruly(batches), "test": batches}
    own, dense = Scaled(1.0), Scaled(2.0)
    split = SearchSplit(Classification(data), dense, "kl", 0, "cpu")
    with pytest.raises(DataError, match="Batch 1 of the search split is not what it was before"):
        split.extend(split.reading(), own, 1.0)
    by_loss = SearchSplit(Classification(data), dense, "loss", 0, "cpu")
    assert by_loss.extend(by_loss.reading(), own, 1.0) == 4 * SIZE
