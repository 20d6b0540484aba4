"""Mean average precision of boxes, gathered over batches."""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from autoprune.errors import ConfigError

Backend = Literal["faster_coco_eval", "pycocotools"]
Overlapping = Literal["boxes", "masks"]
_LIKELY = 0.5  # a pixel's probability, from which it is in a mask


class AveragePrecision:
    """COCO's mean average precision over classes and overlaps, in ``[0, 1]``.

    Args:
        iou: Overlaps that count as found; None for 0.5, 0.55, ... 0.95.
        found: Returns boxes, scores and labels of each image, given the outputs of a batch.
        of: What overlaps: boxes, or masks, ``[objects, h, w]`` of targets and probabilities
            ``[objects, 1, h, w]`` of a model.

    Raises:
        ConfigError: If no package that computes it is installed.
    """

    def __init__(
        self,
        iou: Sequence[float] | None,
        found: Callable[[Any], Sequence[Mapping[str, Tensor]]],
        of: Overlapping = "boxes",
    ) -> None:
        self._found, self._of = found, of
        self._there, self._finite = False, True  # whether there is a box, and scores are numbers
        self._metric = _metric(iou, of)
        self._metric.warn_on_many_detections = False

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in the detections of a batch and its ``(images, targets)``."""
        found = [_part(one, (self._of, "scores", "labels")) for one in self._found(outputs)]
        targets = [_part(one, (self._of, "labels")) for one in batch[1]]
        self._there |= bool(classes_of(targets))
        self._finite &= all(bool(torch.isfinite(one["scores"]).all()) for one in found)
        self._metric.update(found, targets)

    def compute(self) -> float:
        """Return the mean over classes that have boxes; 0 without any, NaN if scores are."""
        if not self._finite:
            return math.nan
        return float(self._metric.compute()["map"]) if self._there else 0.0

    def notes(self) -> list[str]:
        """Return that there is no box, if so; see `HasNotes.notes`."""
        return [] if self._there else ["no box, so its mAP is 0 whatever the model does"]


def _part(one: Mapping[str, Tensor], keys: Sequence[str]) -> dict[str, Tensor]:
    parts = {key: one[key].detach().cpu() for key in keys}
    if "masks" in parts:
        masks = parts["masks"]
        parts["masks"] = (masks if masks.ndim == 3 else masks[:, 0]) >= _LIKELY
    return parts


def classes_of(images: Sequence[Mapping[str, Tensor]]) -> set[int]:
    """Return the labels of all boxes."""
    return {label for one in images for label in one["labels"].tolist()}


def _metric(iou: Sequence[float] | None, of: Overlapping) -> Any:
    """Return the metric of torchmetrics, which asks for its backend as soon as it is made."""
    backend = _backend()
    try:
        from torchmetrics.detection import MeanAveragePrecision
    except ImportError as err:
        raise ConfigError(
            f"Mean average precision cannot be computed: {err}. "
            "Type: pip install 'autoprune[detection]'"
        ) from err
    kind: Literal["bbox", "segm"] = "segm" if of == "masks" else "bbox"
    own = None if iou is None else list(iou)
    return MeanAveragePrecision(iou_type=kind, iou_thresholds=own, backend=backend)


def _backend() -> Backend:
    if find_spec("faster_coco_eval") is not None:
        return "faster_coco_eval"
    if find_spec("pycocotools") is not None:
        return "pycocotools"
    raise ConfigError(
        "Mean average precision is computed by faster-coco-eval or pycocotools, and neither is "
        "installed. Type: pip install 'autoprune[detection]'"
    )
