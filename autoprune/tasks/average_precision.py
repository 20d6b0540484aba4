"""Mean average precision of boxes, gathered over batches."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

from torch import Tensor

from autoprune.errors import ConfigError

Backend = Literal["faster_coco_eval", "pycocotools"]
_PARTS = ("boxes", "scores", "labels")


class AveragePrecision:
    """COCO's mean average precision over classes and overlaps, in ``[0, 1]``.

    Args:
        iou: Overlaps that count as found; None for 0.5, 0.55, ... 0.95.
        found: Returns boxes, scores and labels of each image, given the outputs of a batch.

    Raises:
        ConfigError: If no package that computes it is installed.
    """

    def __init__(
        self, iou: Sequence[float] | None, found: Callable[[Any], Sequence[Mapping[str, Tensor]]]
    ) -> None:
        from torchmetrics.detection import MeanAveragePrecision  # asks for a backend at once

        self._found = found
        self._boxes = 0
        self._metric = MeanAveragePrecision(
            iou_thresholds=None if iou is None else list(iou), backend=_backend()
        )
        self._metric.warn_on_many_detections = False

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in the detections of a batch and its ``(images, targets)``."""
        found = [_part(one, _PARTS) for one in self._found(outputs)]
        targets = [_part(one, ("boxes", "labels")) for one in batch[1]]
        self._boxes += sum(len(one["labels"]) for one in targets)
        self._metric.update(found, targets)

    def compute(self) -> float:
        """Return the mean over classes that have boxes; 0 where there is no box at all."""
        return float(self._metric.compute()["map"]) if self._boxes else 0.0

    def notes(self) -> list[str]:
        """Return whether what was taken in lacks boxes; see `HasNotes.notes`."""
        return [] if self._boxes else ["no box, so its mAP is 0 whatever the model does"]


def _part(one: Mapping[str, Tensor], keys: Sequence[str]) -> dict[str, Tensor]:
    return {key: one[key].detach().cpu() for key in keys}


def _backend() -> Backend:
    if find_spec("faster_coco_eval") is not None:
        return "faster_coco_eval"
    if find_spec("pycocotools") is not None:
        return "pycocotools"
    raise ConfigError(
        "Mean average precision is computed by faster-coco-eval or pycocotools, and neither is "
        "installed. Type: pip install 'autoprune[detection]'"
    )
