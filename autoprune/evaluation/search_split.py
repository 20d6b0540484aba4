"""The search split, the same batches for every candidate, a part at a time."""

import math
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import nn

from autoprune.core.recovery import ScoreBy
from autoprune.core.stages import MOST
from autoprune.evaluation.measure import Reading, to_device
from autoprune.evaluation.randomness import isolated
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call
from autoprune.tasks import Task, need_logits


class SearchSplit:
    """Measures candidates on the search split.

    Measuring has randomness of its own: every candidate meets the same batches in the same order,
    and training goes on as if nobody had measured.

    Args:
        task: Data, loss and metric.
        dense: The dense model, on ``device``; never changed.
        score_by: What ranks candidates.
        seed: Decides what the loader draws.
        device: Where models are.
    """

    def __init__(
        self, task: Task, dense: nn.Module, score_by: ScoreBy, seed: int, device: str
    ) -> None:
        self._task, self._dense, self._score_by = task, dense, score_by
        self._seed, self._device = seed, device

    def reading(self) -> Reading:
        """Return a reading that holds nothing yet."""
        return Reading(self._task, "search", self._score_by, math.ceil(MOST / self._count))

    def batches(self, share: float) -> int:
        """Return how many batches ``share`` of the split is, rounded up."""
        return math.ceil(share * self._count - 1e-9)

    def extend(self, reading: Reading, model: nn.Module, share: float) -> int:
        """Measure what ``reading`` lacks of ``share`` of the split; return the samples of that.

        Raises:
            DataError: If the loader fails.
        """
        start, samples = reading.batches, 0
        stop = None if share == 1 else self.batches(share)
        with self._isolated(), evaluating(model), torch.no_grad():
            for raw in islice(self._task.batches("search"), start, stop):
                batch = to_device(raw, self._device)
                dense = self._logits[reading.batches] if self._score_by == "kl" else None
                reading.add(call(model, self._task.inputs(batch)), batch, dense)
                samples += self._task.samples(batch)
        return samples

    def _isolated(self) -> Any:
        return isolated(self._seed, self._task.loader("search"))

    @cached_property
    def _count(self) -> int:
        """Number of batches, counted where the loader does not tell."""
        try:
            return len(self._task.loader("search"))
        except TypeError:
            with self._isolated():
                return sum(1 for _ in self._task.batches("search"))

    @cached_property
    def _logits(self) -> list[torch.Tensor]:
        """The dense model's logits by batch, on the CPU; what they cost is told in `prepare`."""
        task = need_logits(self._task, "recovery.score_by 'kl'")
        found = []
        with self._isolated(), evaluating(self._dense), torch.no_grad():
            for raw in self._task.batches("search"):
                outputs = call(self._dense, self._task.inputs(to_device(raw, self._device)))
                found.append(task.logits(outputs).cpu())
        return found
