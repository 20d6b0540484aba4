"""Non-maximum suppression in a form that exporters follow."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_MODULE = "torchvision.ops.boxes"


@contextmanager
def without_branches() -> Iterator[None]:
    """Let torchvision's detectors suppress boxes without looking at how many there are.

    ``batched_nms`` chooses between two ways of the same result by the number of boxes, which is
    unknown when a model is exported. Code that has imported the function by name keeps its own.
    """
    boxes: Any = sys.modules.get(_MODULE)
    if boxes is None:
        yield
        return
    usual = boxes.batched_nms
    boxes.batched_nms = _batched_nms
    try:
        yield
    finally:
        boxes.batched_nms = usual


def _batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Return the numbers of the boxes that stay, each class for itself: it gets its own place."""
    most = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
    moved = boxes + (idxs.to(boxes) * (most + 1))[:, None]
    kept: Tensor = torch.ops.torchvision.nms(moved, scores, iou_threshold)
    return kept
