"""Loss, metric and score of a model on one split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.core.recovery import ScoreBy
from autoprune.core.stages import Stage
from autoprune.errors import CandidateError
from autoprune.evaluation.chunks import chunks
from autoprune.evaluation.divergence import divergence
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call, map_tensors
from autoprune.tasks import Split, Task, need_logits


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found on a split, or on the batches of it that were seen.

    Args:
        loss: Mean loss per sample.
        quality: The task's metric, higher is better.
        samples: Number of samples seen.
        score: What ranks candidates, lower is better.
    """

    loss: float
    quality: float
    samples: int
    score: float


PART = 8  # samples at least whose mean is one value of a paired test
_SAME = 1e-4  # relative; a score whose parts do not give the whole is no mean over samples


class Reading:
    """Gathers what the batches of a split say about one model, which does not change meanwhile.

    Batches are looked at in parts, as tests of two models want many pairs. Where `chunks` cannot
    cut them, or the score is no mean over samples (a loss over pairs, mAP), each has one value.

    Args:
        task: Loss and metric.
        split: Name of the split, for errors.
        score_by: What the score is made of.
        parts: Of each batch, at most; of at least `PART` samples.
    """

    def __init__(
        self, task: Task, split: Split, score_by: ScoreBy = "loss", parts: int = 1
    ) -> None:
        self._task, self._split, self._score_by = task, split, score_by
        self._most = parts
        self._metric = task.metric()
        self._loss = 0.0
        self._counts: list[int] = []  # of samples, by part
        self._means: list[float] = []  # of the score, by part
        self.batches = 0  # taken in

    def add(self, outputs: Any, batch: Any, dense: torch.Tensor | None = None) -> None:
        """Take in one batch; ``dense`` are the dense model's logits, for a score by ``kl``."""
        count = self._task.samples(batch)
        loss = float(self._task.loss(outputs, batch))
        mean = loss if self._score_by == "loss" else self._mean(outputs, batch, dense)
        self._loss += loss * count
        self._metric.update(outputs, batch)
        parts = self._parts(count, outputs, batch, *(() if dense is None else (dense,)))
        counts = [self._task.samples(part[1]) for part in parts]
        means = self._means_of(parts)
        shared = means and math.isclose(np.dot(means, counts), mean * count, rel_tol=_SAME)
        self._counts += counts if shared else [count]
        self._means += means if shared else [mean]
        self.batches += 1

    def _parts(self, count: int, *whole: Any) -> list[tuple[Any, ...]]:
        """Return a batch, its outputs and what else there is in parts; none if it is not cut."""
        size = max(PART, -(-count // self._most))
        if size >= count:
            return []
        cut = [chunks(one, count, size) for one in whole]
        kinds = [type(parts[0]) is type(one) for parts, one in zip(cut, whole, strict=True)]
        alike = all(kinds) and len({len(parts) for parts in cut}) == 1
        return list(zip(*cut, strict=True)) if alike else []

    def _means_of(self, parts: Sequence[tuple[Any, ...]]) -> list[float]:
        """Return the score of each part; none where the task wants more samples than a part's."""
        try:
            return [self._mean(*part) for part in parts]
        except Exception:  # the batch as a whole was fine
            return []

    def _mean(self, outputs: Any, batch: Any, dense: torch.Tensor | None = None) -> float:
        if self._score_by == "loss":
            return float(self._task.loss(outputs, batch))
        if self._score_by == "kl":
            assert dense is not None
            logits = need_logits(self._task, "recovery.score_by 'kl'").logits(outputs)
            return float(divergence(logits, dense.to(logits.device)))
        own = self._task.metric()
        own.update(outputs, batch)
        return -own.compute()

    def found(self) -> Measurement:
        """Return what was found so far.

        Raises:
            CandidateError: If the loss or the score is NaN or infinite.
        """
        samples = sum(self._counts)
        loss, quality = self._loss / samples, self._metric.compute()
        if not math.isfinite(loss):
            raise CandidateError(f"The loss on the {self._split} split is {loss}.")
        score = {"loss": loss, "metric": -quality}.get(self._score_by)
        if score is None:
            pairs = zip(self._means, self._counts, strict=True)
            score = sum(mean * count for mean, count in pairs) / samples
        if not math.isfinite(score):
            raise CandidateError(f"The {self._score_by} on the {self._split} split is {score}.")
        return Measurement(loss, quality, samples, score)

    def stage(self, steps: int) -> Stage:
        """Return what was found so far as a stage after ``steps`` training steps."""
        found = self.found()
        return Stage.of(steps, self._means, self._counts, found.score, found.quality)


def to_device(batch: Any, device: str) -> Any:
    """Return the batch with every tensor on ``device``."""
    return map_tensors(lambda x: x.to(device, non_blocking=True), batch)


def measure(model: nn.Module, task: Task, split: Split, device: str) -> Measurement:
    """Measure ``model`` (already on ``device``) on a whole split, in eval mode, score by loss.

    Raises:
        CandidateError: If the loss is NaN or infinite.
        DataError: If the loader fails.
    """
    reading = Reading(task, split)
    with evaluating(model), torch.no_grad():
        for raw in task.batches(split):
            batch = to_device(raw, device)
            reading.add(call(model, task.inputs(batch)), batch)
    return reading.found()
