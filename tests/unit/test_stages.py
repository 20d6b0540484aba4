"""Stages: values of small parts of the split, for paired tests."""

from collections import UserDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.recovery import ScoreBy
from autoprune.core.stages import MOST, Stage
from autoprune.evaluation.measure import PART, Reading
from autoprune.tasks import Classification, Split

SPLITS: dict[Split, Any] = {split: [] for split in ("train", "search", "test")}


class Wrapped(Classification):
    """Outputs of this kind cannot be cut: nobody knows how to make another one."""

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        return super().loss(outputs.data["logits"], batch)

    def metric(self) -> Any:
        metric = super().metric()
        update = metric.update

        def unwrapped(outputs: Any, batch: Any) -> None:
            update(outputs.data["logits"], batch)

        metric.update = unwrapped  # type: ignore[method-assign]
        return metric


class OverPairs(Classification):
    """The loss looks at pairs of samples, so it is no mean over them."""

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        gaps = outputs[:, None] - outputs[None]
        found: torch.Tensor = gaps.square().sum(-1).mean()
        return found


def batches(*sizes: int) -> list[tuple[torch.Tensor, tuple[None, torch.Tensor]]]:
    rng = torch.Generator().manual_seed(0)
    classes = [torch.randint(3, (size,), generator=rng) for size in sizes]
    return [(torch.randn(len(one), 3, generator=rng), (None, one)) for one in classes]


def stage(task: Classification, score_by: ScoreBy, *sizes: int, wrap: Any = None) -> Stage:
    reading = Reading(task, "search", score_by, parts=5)
    for outputs, (images, classes) in batches(*sizes):
        images = torch.zeros(len(classes), 1)
        dense = outputs * 2 if score_by == "kl" else None
        reading.add(wrap(outputs) if wrap else outputs, (images, classes), dense)
    return reading.stage(3)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=1, max_size=300))
def test_the_mean_of_the_values_is_the_value(parts: list[tuple[float, int]]) -> None:
    means, counts = zip(*parts, strict=True)
    found = Stage.of(1, means, counts, float(np.average(means, weights=counts)), 0.5)
    assert len(found.values) == min(len(parts), MOST)
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4, abs=1e-6)
    assert found.samples == sum(counts)


@pytest.mark.parametrize("score_by", ["loss", "metric", "kl"])
def test_one_batch_gives_many_values(score_by: ScoreBy) -> None:
    found = stage(Classification(SPLITS), score_by, 5 * PART)
    assert len(found.values) == 5
    assert len(set(found.values)) > 1
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4)


def test_no_part_is_smaller_than_a_few_samples() -> None:
    assert len(stage(Classification(SPLITS), "loss", PART, 3, 2 * PART).values) == 4


def test_what_cannot_be_cut_has_one_value_for_each_batch() -> None:
    wrapped = stage(
        Wrapped(SPLITS), "loss", 2 * PART, 40, wrap=lambda outputs: UserDict(logits=outputs)
    )
    assert len(wrapped.values) == 2
    plain = stage(Classification(SPLITS), "loss", 2 * PART, 40)
    assert wrapped.value == plain.value


def test_a_metric_that_needs_many_samples_has_one_value_for_each_batch() -> None:
    class Picky(Classification):
        def metric(self) -> Any:
            metric = super().metric()
            update = metric.update

            def checked(outputs: Any, batch: Any) -> None:
                assert len(outputs) > PART
                update(outputs, batch)

            metric.update = checked  # type: ignore[method-assign]
            return metric

    assert len(stage(Picky(SPLITS), "metric", 2 * PART, 3 * PART).values) == 2


def test_a_loss_over_pairs_is_no_mean_of_its_parts() -> None:
    found = stage(OverPairs(SPLITS), "loss", 2 * PART, 40)
    assert len(found.values) == 2
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4)
