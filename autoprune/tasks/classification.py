"""Single-label classification: cross-entropy and top-1 accuracy."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torchmetrics.aggregation import MeanMetric

from autoprune.errors import DataError
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.loaded import LoadedTask, described


class Top1:
    """Share of samples whose highest output is their class, in ``[0, 1]``."""

    def __init__(self) -> None:
        self._mean = MeanMetric().set_dtype(torch.float64)

    def update(self, outputs: torch.Tensor, batch: Any) -> None:
        """Take in outputs of shape ``[samples, classes]`` and their batch."""
        right = outputs.argmax(1) == batch[1]
        self._mean.update(right.double().cpu())

    def compute(self) -> float:
        """Return the accuracy over everything taken in."""
        return float(self._mean.compute())


class Classification(LoadedTask):
    """Images with one class each.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders that yield
            ``(images, classes)``: floats ``[samples, ...]`` and integers ``[samples]``.

    Raises:
        DataError: If a split is missing or cannot be iterated over again.
    """

    name = "classification"
    metric_name = "top-1"

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` unless it holds images and classes."""
        _check_batch(batch, split)

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        """Return the mean cross-entropy; see `Task.loss`.

        Raises:
            DataError: If a target is no class of the model.
        """
        try:
            return cross_entropy(outputs, batch[1].long())
        except IndexError:
            self.check_outputs(outputs, batch)
            raise

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the outputs, ``samples x classes``; see `HasLogits.logits`."""
        assert isinstance(outputs, torch.Tensor)
        return outputs

    def metric(self) -> Top1:
        """Return a fresh accuracy; see `Task.metric`."""
        return Top1()

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` unless outputs are ``[samples, classes]`` and targets inside."""
        targets = batch[1]
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)
        if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
            raise DataError(f"A classifier must return a tensor [samples, classes]. Got {shape}.")
        if len(outputs) != len(targets):
            raise DataError(
                f"The model gave {len(outputs)} outputs for {len(targets)} targets. "
                "Each sample needs one of both."
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= outputs.shape[1]:
            raise DataError(
                f"Targets must be classes 0 to {outputs.shape[1] - 1}, as the model has "
                f"{outputs.shape[1]} outputs. Got {low} to {high}."
            )


def _check_batch(batch: Any, split: Split) -> None:
    want = "(images, classes): float images [samples, ...] and integer classes [samples]"
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(f"The {split} loader must yield {want}. Got {described(batch)}.")
    images, targets = batch
    fits = (
        isinstance(images, torch.Tensor)
        and isinstance(targets, torch.Tensor)
        and images.is_floating_point()
        and targets.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
        and targets.ndim == 1
        and images.ndim >= 2
        and len(images) == len(targets) > 0
    )
    if not fits:
        raise DataError(f"The {split} loader must yield {want}. Got {described(batch)}.")


TASKS.add("classification", Classification)
