"""Top-k accuracy, over samples or over classes."""

from collections.abc import Callable
from typing import Any

import torch

from autoprune.tasks.labelled import classes_named
from autoprune.tasks.logits import logits_of


class Accuracy:
    """Share of samples whose class is among the highest outputs, in ``[0, 1]``.

    It counts by itself, in memory linear in the classes, and divides in double precision.
    torchmetrics' `MulticlassAccuracy` counts by class from a table of classes by classes, and
    takes a class without samples for one of accuracy 0 as soon as the model predicts it.

    Args:
        targets: Gives the classes of a batch, ``[samples]``.
        top_k: How many outputs count.
        balanced: Whether to average over classes in place of samples, as
            `sklearn.metrics.balanced_accuracy_score` does; classes without samples are left out.
    """

    def __init__(
        self, targets: Callable[[Any], torch.Tensor], top_k: int = 1, balanced: bool = False
    ) -> None:
        self._targets, self._top_k, self._balanced = targets, top_k, balanced
        self._right = self._seen = torch.zeros(0, dtype=torch.int64)  # samples by class

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in outputs with logits ``[samples, classes]`` and their batch."""
        logits = logits_of(outputs)
        assert logits is not None
        classes = self._targets(batch).long()
        if self._top_k == 1:
            best = logits.argmax(1, keepdim=True)
        else:
            best = logits.topk(self._top_k, 1).indices
        right = (best == classes[:, None]).any(1)
        both = (classes[right], classes)
        counts = [torch.bincount(one.cpu(), minlength=logits.shape[1]) for one in both]
        if len(self._seen) == 0:
            self._right, self._seen = counts
        else:
            self._right, self._seen = self._right + counts[0], self._seen + counts[1]

    def compute(self) -> float:
        """Return the accuracy over everything taken in."""
        if not self._balanced:
            return int(self._right.sum()) / int(self._seen.sum())
        there = self._seen > 0
        return float((self._right[there].double() / self._seen[there]).mean())

    def notes(self) -> list[str]:
        """Return what the samples taken in lack; see `HasNotes.notes`."""
        seen, absent = self._seen.nonzero()[:, 0], (self._seen == 0).nonzero()[:, 0]
        if not len(absent):
            return []
        if len(seen) == 1:
            return [f"no sample but of {classes_named(seen)}, of {len(self._seen)} classes"]
        return [f"no sample of {classes_named(absent)}"]
