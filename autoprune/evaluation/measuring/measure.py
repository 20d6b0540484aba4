"""Loss, metric and score of a model on one split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.core.recovery import ScoreBy
from autoprune.core.stages import Stage
from autoprune.errors import CandidateError
from autoprune.evaluation.measuring.dense_outputs import outputs_of
from autoprune.evaluation.measuring.divergence import divergence
from autoprune.evaluation.measuring.parts import parts_of
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import map_tensors
from autoprune.tasks import HasClasses, HasLabels, HasNotes, Split, Task, need_logits
from autoprune.tasks.splits import in_split


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found on a split, or on the batches of it that were seen.

    Args:
        loss: Mean loss per sample.
        quality: The task's metric, higher is better.
        samples: Number of samples seen.
        score: What ranks candidates, lower is better.
        notes: What the metric has to say about the samples; see `HasNotes`.
        classes: Classes that they have, where the task knows; see `HasClasses`.
        labels: The class of each, where each has one; see `HasLabels`.
    """

    loss: float
    quality: float
    samples: int
    score: float
    notes: tuple[str, ...] = ()
    classes: frozenset[int] = frozenset()
    labels: tuple[int, ...] = ()


_SAME = 1e-4  # relative; a score that its parts do not give is no mean over samples


class Reading:
    """Gathers what the batches of a split say about one model, which does not change meanwhile.

    Args:
        task: Loss and metric.
        split: Name of the split, for errors.
        score_by: What the score is made of.
        parts: Of each batch, at most, see `parts_of`, that have a value of their own in a stage.
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
        self._found: Measurement | None = None  # a metric may take long
        self.batches = 0  # taken in

    def add(self, outputs: Any, batch: Any, dense: torch.Tensor | None = None) -> None:
        """Take in one batch; ``dense`` are the dense model's logits, for a score by ``kl``."""
        count = self._task.samples(batch)
        with in_split(self._split):
            loss = float(self._task.loss(outputs, batch))
        mean = loss if self._score_by == "loss" else self._mean(outputs, batch, dense)
        self._loss += loss * count
        self._metric.update(outputs, batch)
        parts = parts_of(count, self._most, outputs, batch, *(() if dense is None else (dense,)))
        means = self._means_of(parts)
        self._means += means or [mean]
        self._counts += [self._task.samples(one[1]) for one in parts] if means else [count]
        self.batches += 1
        self._found = None

    @property
    def divides(self) -> bool:
        """Whether the only batch so far came in parts, and its score is the mean of theirs."""
        if len(self._means) < 2:
            return False
        mean = np.average(self._means, weights=self._counts)
        return math.isclose(mean, self.found().score, rel_tol=_SAME, abs_tol=_SAME**2)

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
            return max(float(divergence(logits, dense.to(logits.device))), 0.0)  # rounding
        own = self._task.metric()
        own.update(outputs, batch)
        return -own.compute()

    def found(self) -> Measurement:
        """Return what was found so far.

        Raises:
            CandidateError: If the loss, the metric or the score is NaN or infinite.
        """
        if self._found is None:
            self._found = self._measured()
        return self._found

    def _measured(self) -> Measurement:
        samples = sum(self._counts)
        loss = self._loss / samples
        if not math.isfinite(loss):
            raise CandidateError(f"The loss on the {self._split} split is {loss}.")
        quality = self._metric.compute()
        if not math.isfinite(quality):
            raise CandidateError(f"The metric on the {self._split} split is {quality}.")
        score = {"loss": loss, "metric": -quality}.get(self._score_by)
        if score is None:
            pairs = zip(self._means, self._counts, strict=True)
            score = sum(mean * count for mean, count in pairs) / samples
        if not math.isfinite(score):
            raise CandidateError(f"The {self._score_by} on the {self._split} split is {score}.")
        return Measurement(loss, quality, samples, score)

    def notes(self) -> tuple[str, ...]:
        """Return what the metric has to say about the samples so far; see `HasNotes`."""
        return tuple(self._metric.notes()) if isinstance(self._metric, HasNotes) else ()

    def stage(self, steps: int) -> Stage:
        """Return what was found so far as a stage after ``steps`` training steps."""
        found = self.found()
        return Stage.of(steps, self._means, self._counts, found.score, found.quality)


def to_device(batch: Any, device: str) -> Any:
    """Return the batch with every tensor on ``device``."""
    return map_tensors(lambda x: x.to(device, non_blocking=True), batch)


def measure(model: nn.Module, task: Task, split: Split, device: str) -> Measurement:
    """Measure ``model`` (already on ``device``) on a whole split, in eval mode, score by loss.

    What is found has the metric's notes about the split, and its classes.

    Raises:
        CandidateError: If the loss is NaN or infinite.
        DataError: If the loader fails.
        ModelError: If a forward does.
    """
    reading, classes, labels = Reading(task, split), set[int](), list[int]()
    with evaluating(model), torch.no_grad():
        for raw in task.batches(split):
            batch = to_device(raw, device)
            reading.add(outputs_of(task, model, batch, split), batch)
            classes |= task.classes(batch) if isinstance(task, HasClasses) else set()
            labels += task.labels(batch) if isinstance(task, HasLabels) else []
    found = reading.found()
    return replace(found, notes=reading.notes(), classes=frozenset(classes), labels=tuple(labels))
