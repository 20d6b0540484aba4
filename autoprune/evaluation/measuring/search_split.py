"""The search split, the same batches for every candidate, a part at a time."""

import math
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import nn

from autoprune.core.recovery import ScoreBy
from autoprune.core.stages import MOST_VALUES
from autoprune.errors import DataError
from autoprune.evaluation.measuring.measure import Reading, to_device
from autoprune.evaluation.randomness import isolated
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, fresh, tensors_in
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

    @property
    def forwards(self) -> int:
        """Forwards of a model that measuring takes."""
        return self._task.forwards

    def reading(self) -> Reading:
        """Return a reading that holds nothing yet."""
        return Reading(self._task, "search", self._score_by, self._parts)

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
                samples += self._add(reading, model, to_device(raw, self._device))
        return samples

    def _add(self, reading: Reading, model: nn.Module, batch: Any) -> int:
        dense = self._logits_of(batch, reading.batches) if self._score_by == "kl" else None
        reading.add(self._task.outputs(model, fresh(batch)), batch, dense)
        return self._task.samples(batch)

    def _isolated(self) -> Any:
        return isolated(self._seed, self._task.loader("search"))

    @cached_property
    def _parts(self) -> int:
        """Parts of each batch at most, one where a score is no mean over samples.

        A loss over pairs or mAP is none. The dense model decides that on the first batch, for
        paired tests want the same parts of every candidate.
        """
        most = math.ceil(MOST_VALUES / self._count)
        if most == 1:
            return 1
        reading = Reading(self._task, "search", self._score_by, most)
        with self._isolated(), evaluating(self._dense), torch.no_grad():
            for raw in islice(self._task.batches("search"), 1):
                self._add(reading, self._dense, to_device(raw, self._device))
        return most if reading.divides else 1

    @cached_property
    def _count(self) -> int:
        """Number of batches, counted where the loader does not tell."""
        try:
            return len(self._task.loader("search"))
        except TypeError:
            with self._isolated():
                return sum(1 for _ in self._task.batches("search"))

    def _logits_of(self, batch: Any, number: int) -> torch.Tensor:
        """Return the dense model's logits of a batch, which has to be the one it was before."""
        known = self._logits[number] if number < len(self._logits) else None
        if known is None or not _same(known[1], _sums(self._task.inputs(batch))):
            raise DataError(
                f"Batch {number + 1} of the search split is not what it was before, and scores "
                "by kl compare outputs with the dense model's on the same samples. Give the "
                "loader shuffle=False and no random changes of its own, or set "
                "recovery.score_by: loss."
            )
        return known[0]

    @cached_property
    def _logits(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The dense model's logits by batch, on the CPU, and what tells the batch by.

        What they cost is told in `prepare`.
        """
        task = need_logits(self._task, "recovery.score_by 'kl'")
        found = []
        with self._isolated(), evaluating(self._dense), torch.no_grad():
            for raw in self._task.batches("search"):
                batch = to_device(raw, self._device)
                logits = task.logits(self._task.outputs(self._dense, fresh(batch)))
                found.append((logits.cpu(), _sums(self._task.inputs(batch))))
        return found


def _sums(inputs: Inputs) -> torch.Tensor:
    """Return numbers, one for each sample in each tensor, by which others would be noticed."""
    rows = (one.reshape(one.shape[:1].numel(), -1) for one in tensors_in(inputs))
    return torch.cat([torch.zeros(0), *(row.sum(1, dtype=torch.float64).cpu() for row in rows)])


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, equal_nan=True)
