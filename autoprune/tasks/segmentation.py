"""Semantic segmentation: a class for every pixel, cross-entropy and the mean IoU."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from torchmetrics.classification import MulticlassJaccardIndex

from autoprune.core.numbers import check_at_least
from autoprune.core.words import check_choice
from autoprune.errors import ConfigError
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.labelled import classes_named
from autoprune.tasks.loaded import LoadedTask
from autoprune.tasks.logits import logits_of, run_for_logits, total_loss
from autoprune.tasks.masks import check_classes, check_images_and_masks, check_pixels

PixelMetric = Literal["mIoU", "pixel accuracy"]


class Overlap:
    """How far predicted masks and true ones overlap, in ``[0, 1]``, over all pixels taken in.

    The mean IoU is the mean, over classes, of the pixels that are of a class in both masks by
    those that are in either: Everingham et al. 2010, doi:10.1007/s11263-009-0275-4. Classes that
    are in none are left out of it. The pixel accuracy is the share of pixels with the right class.

    Args:
        task: Knows logits and masks.
    """

    def __init__(self, task: "Segmentation") -> None:
        self._task = task
        self._found: MulticlassJaccardIndex | None = None

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in a model's outputs and their batch; see `Metric.update`."""
        masks, logits = self._task.targets(batch), logits_of(outputs)
        assert logits is not None
        predicted = resized(logits, masks).argmax(1)
        if self._found is None:
            self._found = MulticlassJaccardIndex(
                logits.shape[1], ignore_index=self._task.ignore, validate_args=False
            ).to(masks.device)
        self._found.update(predicted, masks)

    def compute(self) -> float:
        """Return the metric; 0 where every pixel was to be ignored."""
        if self._found is None or not self._pixels.any():
            return 0.0
        if self._task.metric_name == "mIoU":
            return float(self._found.compute())
        return float(self._pixels.diagonal().sum() / self._pixels.sum())

    def notes(self) -> list[str]:
        """Return what the masks taken in lack; see `HasNotes.notes`."""
        if self._found is None or not self._pixels.any():
            return ["no pixel that counts: its masks say 'ignore' everywhere"]
        absent = (self._pixels.sum(1) == 0).nonzero()[:, 0]
        absent = absent[absent != self._task.ignore]
        return [f"no pixel of {classes_named(absent)}"] if len(absent) else []

    @property
    def _pixels(self) -> torch.Tensor:
        """Pixels by true and by predicted class, ``classes x classes``."""
        assert self._found is not None
        pixels = self._found.confmat
        assert isinstance(pixels, torch.Tensor)
        return pixels


class Segmentation(LoadedTask):
    """Images with a class for each pixel.

    Models may return a tensor ``samples x classes x h x w``, a mapping with ``out`` and perhaps
    ``aux`` as torchvision's do, or something with ``logits`` as those of Hugging Face do. Outputs
    of another size than the masks are resized, bilinearly.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders that yield
            ``(images, masks)``, floats ``[samples, channels, h, w]`` and integers
            ``[samples, h, w]``, or a mapping like ``{"pixel_values": images, "labels": masks}``.
        metric: ``mIoU`` or ``pixel accuracy``.
        ignore: Class of the pixels in masks that do not count.
        auxiliary: Weight of the auxiliary output's loss where a model in train mode gives one.

    Raises:
        ConfigError: If a setting is out of range.
        DataError: If a split is missing or cannot be iterated over again.
    """

    name = "segmentation"
    is_share = True

    def __init__(
        self,
        data: Any,
        *,
        metric: PixelMetric = "mIoU",
        ignore: int = 255,
        auxiliary: float = 0.4,
    ) -> None:
        super().__init__(data)
        check_choice("metric", metric, get_args(PixelMetric))
        if isinstance(ignore, bool) or not isinstance(ignore, int):
            raise ConfigError(f"ignore must be a whole number, like 255. Got {ignore!r}.")
        check_at_least("auxiliary", auxiliary, 0, int | float)
        self.metric_name: str = metric
        self.ignore, self.auxiliary = ignore, float(auxiliary)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What changes loss or metric; see `Task`."""
        return {"metric": self.metric_name, "ignore": self.ignore, "auxiliary": self.auxiliary}

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` unless it holds images and masks of one size."""
        check_images_and_masks(batch, self.target_key, split)

    def targets(self, batch: Any) -> torch.Tensor:
        """Return the masks as int64: as uint8, 256 would be 0 and -1 would be 255."""
        masks: torch.Tensor = super().targets(batch)
        return masks.long()

    def samples(self, batch: Any) -> int:
        """Return the number of masks; see `Task.samples`."""
        return len(super().targets(batch))

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Return the logits, and in training those of auxiliary heads too; see `Task.outputs`."""
        return run_for_logits(model, self.inputs(batch))

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        """Return the mean, over samples, of each one's mean cross-entropy over pixels that count.

        It is that of `cross_entropy` where none is ignored. Samples weigh the same however many
        are, so the loss of a batch is the mean of its parts', which paired tests need. A sample
        without any pixel that counts adds 0.

        Raises:
            DataError: If a mask holds no class of the model.
        """
        masks, logits = self.targets(batch), logits_of(outputs)
        own = partial(self._mean_loss, masks=masks)
        try:
            if logits is not None:
                check_classes(masks, logits.shape[1], self.ignore)
            return total_loss(own, outputs, self.auxiliary)
        except IndexError:
            self.check_outputs(outputs, batch)
            raise

    def _mean_loss(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        large = resized(logits, masks)
        each = cross_entropy(large, masks, ignore_index=self.ignore, reduction="none")
        counted = (masks != self.ignore).flatten(1).sum(1)
        return (each.flatten(1).sum(1) / counted.clamp(min=1)).mean()

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the main output, ``samples x h x w x classes``; see `HasLogits.logits`."""
        found = logits_of(outputs)
        assert found is not None
        return found.movedim(1, -1)

    def classes(self, batch: Any) -> set[int]:
        """Return the classes of a batch's pixels that count; see `HasClasses`."""
        return {*self.targets(batch).unique().tolist()} - {self.ignore}

    def metric(self) -> Overlap:
        """Return a fresh metric; see `Task.metric`."""
        return Overlap(self)

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` unless outputs are ``[samples, classes, h, w]`` and masks inside."""
        found = logits_of(outputs)
        check_pixels(outputs if found is None else found, self.targets(batch), self.ignore)


def resized(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return logits, ``samples x classes x ...``, in single precision, as large as the masks."""
    size = masks.shape[-2:]
    if logits.shape[-2:] == size:
        return logits.float()
    return interpolate(logits.float(), size, mode="bilinear", align_corners=False)


TASKS.add("segmentation", Segmentation)
