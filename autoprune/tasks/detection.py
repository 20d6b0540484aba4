"""Detection: boxes in images, by torchvision's detectors, those used like them, or any other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from autoprune.core.numbers import check_at_least
from autoprune.core.words import check_choice
from autoprune.errors import ConfigError, DataError
from autoprune.surgery.nested import Inputs, fresh
from autoprune.tasks.average_precision import AveragePrecision, Overlapping, classes_of
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.boxes import check_boxes, check_masks
from autoprune.tasks.detector_losses import telling_losses, total_of
from autoprune.tasks.loaded import LoadedTask, described, function_of_task, scalar_of

LOSSES, DETECTIONS = "autoprune.losses", "autoprune.detections"  # what models do not return
Boxes = Mapping[str, Tensor]
LossOf = Callable[[Any, Sequence[Boxes]], Tensor]
DetectionsOf = Callable[[Any], Sequence[Boxes]]


class Detection(LoadedTask):
    """Images with boxes, each of a class.

    A detector as torchvision has them returns a mapping of losses for ``(images, targets)`` in
    training, and ``boxes``, ``scores`` and ``labels`` of each image in eval mode. What any other
    returns is turned into these by ``loss`` and ``detections``. Scores are by the training loss,
    image by image, with norms and dropout as in eval mode; it costs a forward of its own.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders that yield
            ``(images, targets)``: a list of floats ``[channels, h, w]``, or one tensor of them,
            and for each image a mapping of ``boxes``, floats ``[boxes, 4]`` as x1, y1, x2, y2 in
            pixels, and ``labels``, integers ``[boxes]``, 0 being background for torchvision.
        iou: Least overlap of a box that counts as found, in ``(0, 1)``, or several, over which
            the mean is taken; None for COCO's 0.5, 0.55, ... 0.95.
        of: What overlaps, ``boxes``, or ``masks`` for models like Mask R-CNN: targets then hold
            ``masks``, booleans or uint8 of 0 and 1 ``[boxes, h, w]``, and models return
            probabilities ``[boxes, 1, h, w]``.
        loss: ``loss(outputs, targets)`` of what the model returns in either mode, a scalar.
        detections: ``detections(outputs)`` of what it returns in eval mode: ``boxes``,
            ``scores`` and ``labels`` of each image.

    Raises:
        ConfigError: If only one of ``loss`` and ``detections`` is given, or an overlap is none.
        DataError: If a split is missing or cannot be iterated over again.
    """

    name = "detection"
    is_share = True
    functions = ("loss", "detections")

    def __init__(
        self,
        data: Any,
        *,
        iou: float | Sequence[float] | None = None,
        of: Overlapping = "boxes",
        loss: LossOf | None = None,
        detections: DetectionsOf | None = None,
    ) -> None:
        super().__init__(data)
        if (loss is None) != (detections is None):
            raise ConfigError(
                "The task 'detection' takes 'loss' and 'detections' together, for models whose "
                "outputs are neither losses nor boxes; or none of them."
            )
        self._loss, self._detections = loss, detections
        check_choice("of", of, get_args(Overlapping))
        self._iou, self._of = _overlaps(iou), of
        self.one_forward = loss is not None
        self.forwards = 1 if self.one_forward else 2
        shown = f"@{self._iou[0]:g}" if self._iou and len(self._iou) == 1 else ""
        kind = "mask mAP" if of == "masks" else "mAP"
        self.metric_name = kind + (shown if self._iou is None or shown else ", own overlaps")

    @property
    def settings(self) -> Mapping[str, Any]:
        """The overlaps and the functions; see `Task`."""
        own = {"of": self._of} if self._of == "masks" else {}
        functions = self.identities(loss=self._loss, detections=self._detections)
        return {"iou": self._iou, **own, **functions}

    def batches(self, split: Split) -> Iterator[Any]:
        """Yield checked ``(images, targets)``, labels as int64; see `Task.batches`."""
        for images, targets in super().batches(split):
            yield images, [dict(one) | {"labels": one["labels"].long()} for one in targets]

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` unless it holds images and their boxes."""
        _check_batch(batch, split)
        for image, target in zip(*batch, strict=True) if self._of == "masks" else ():
            check_masks(target, (image.shape[-2], image.shape[-1]), split)

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Return losses in training; losses and detections of each image in eval mode.

        Where gradients are enabled, detections are left out.
        """
        images, targets = batch
        if self._loss is not None:
            return model(images)
        if model.training:
            return _losses(model, list(images), targets)
        detections = None if torch.is_grad_enabled() else model(fresh(list(images)))
        with telling_losses(model):
            losses = [
                total_of(_losses(model, [image], [target]))
                for image, target in zip(images, targets, strict=True)
            ]
        return {LOSSES: torch.stack(losses), DETECTIONS: detections}

    def inputs(self, batch: Any) -> Inputs:
        """Return the images, as a list where the model is used as torchvision's."""
        return (batch[0] if self._loss is not None else list(batch[0]),)

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return the sum of a detector's losses, mean over images; see `Task.loss`."""
        if self._loss is not None:
            return scalar_of(self._loss, outputs, batch[1])
        if isinstance(outputs, Mapping) and LOSSES in outputs:
            losses: Tensor = outputs[LOSSES]
            return losses.mean()
        return total_of(outputs)

    def classes(self, batch: Any) -> set[int]:
        """Return the classes of a batch's boxes; see `HasClasses`."""
        return classes_of(batch[1])

    def metric(self) -> AveragePrecision:
        """Return a fresh mean average precision; see `Task.metric`."""
        return AveragePrecision(self._iou, self._found, self._of)

    def _found(self, outputs: Any) -> Sequence[Boxes]:
        if self._detections is not None:
            return self._detections(outputs)
        found: Sequence[Boxes] = outputs[DETECTIONS]
        return found

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Refuse outputs without boxes, scores and labels for each image.

        Raises:
            ConfigError: If ``detections`` raises.
            DataError: If there are none.
        """
        with function_of_task("detections"):
            found = self._found(outputs)
        parts = ["boxes", *(["masks"] if self._of == "masks" else []), "scores", "labels"]
        fits = isinstance(found, Sequence) and len(found) == len(batch[1])
        if not fits or not all(isinstance(one, Mapping) and {*parts} <= {*one} for one in found):
            raise DataError(
                f"A detector must return, in eval mode, a mapping of {', '.join(parts[:-1])} and "
                f"labels for each image. Got {described(found)}. Give the task 'loss' and "
                "'detections', functions that make losses and boxes of what yours returns."
            )


def _overlaps(given: float | Sequence[float] | None) -> list[float] | None:
    if given is None:
        return None
    found = list(given) if isinstance(given, Sequence) else [given]
    for one in found:
        check_at_least("iou", one, 0, int | float)
        if not 0 < one < 1:
            raise ConfigError(f"iou must be between 0 and 1, like 0.5. Got {one!r}.")
    if not found:
        raise ConfigError("iou must hold at least one overlap, like 0.5. Got none.")
    return [float(one) for one in found]


def _losses(model: nn.Module, images: list[Tensor], targets: Sequence[Boxes]) -> Any:
    """Return the losses of a detector that tells them; it looks up the classes of boxes."""
    try:
        return model(images, targets)
    except IndexError as err:
        labels = torch.cat([one["labels"] for one in targets])
        raise DataError(
            f"The detector failed on boxes with the labels {_range(labels)}: {err} Labels are its "
            "classes, from 1 where it keeps 0 for background, as torchvision's SSD and R-CNN do."
        ) from err


def _range(labels: Tensor) -> str:
    return f"{int(labels.min())} to {int(labels.max())}" if len(labels) else "of no box"


def _check_batch(batch: Any, split: Split) -> None:
    want = (
        "(images, targets): a list of float images [channels, h, w], or one tensor of them, and "
        "as many mappings of boxes [boxes, 4] and labels [boxes]"
    )
    fits = isinstance(batch, (tuple, list)) and len(batch) == 2
    images, targets = batch if fits else ((), ())
    fits = (
        fits
        and isinstance(images, (Tensor, tuple, list))
        and isinstance(targets, (tuple, list))
        and len(images) == len(targets) > 0
        and all(_is_image(image) for image in images)
        and all(isinstance(one, Mapping) and {"boxes", "labels"} <= {*one} for one in targets)
    )
    if not fits:
        raise DataError(f"The {split} loader must yield {want}. Got {described(batch)}.")
    for image, target in zip(images, targets, strict=True):
        check_boxes(target, (image.shape[-2], image.shape[-1]), split)


def _is_image(image: Any) -> bool:
    return isinstance(image, Tensor) and image.ndim == 3 and image.is_floating_point()


TASKS.add("detection", Detection)
