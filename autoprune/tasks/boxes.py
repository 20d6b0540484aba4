"""The boxes of an image: what is wrong with them is told before a detector stumbles over it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autoprune.errors import DataError
from autoprune.tasks.base import Split
from autoprune.tasks.loaded import INTEGERS, described


def check_boxes(target: Mapping[str, Any], size: tuple[int, int], split: Split) -> None:
    """Refuse boxes that are no boxes, or lie beside the image.

    Args:
        target: Its ``boxes``, ``[boxes, 4]``, and ``labels``, ``[boxes]``.
        size: Height and width of the image.
        split: Name of the split, for errors.

    Raises:
        DataError: If types or shapes differ, a box has no area or lies outside the image, boxes
            are shares of its size, or a label is below 0.
    """
    boxes, labels = target["boxes"], target["labels"]
    if not _fits(boxes, labels):
        raise DataError(
            f"The {split} targets must hold float boxes [boxes, 4] and integer labels [boxes]; an "
            "image without any has [0, 4] and [0]. Got "
            f"{described(boxes)} and {described(labels)}."
        )
    if not len(boxes):
        return
    if not bool(torch.isfinite(boxes).all()):
        raise DataError(f"The {split} boxes hold NaN or infinite numbers. Leave such boxes out.")
    flat = int((boxes[:, 2:] <= boxes[:, :2]).any(1).sum())
    if flat:
        raise DataError(
            f"{flat} of {len(boxes)} boxes of a {split} image have no area: they must be x1, y1, "
            "x2, y2 in pixels with x1 < x2 and y1 < y2. Leave such boxes out, or convert them."
        )
    height, width = size
    if float(boxes.max()) <= 1 < min(size):
        raise DataError(
            f"All {len(boxes)} boxes of a {split} image of {width} x {height} lie within its "
            f"first pixel: they seem to be shares of its size. Multiply x by {width}, "
            f"y by {height}."
        )
    edges = boxes.new_tensor([width, height])
    beside = int(((boxes[:, :2] >= edges) | (boxes[:, 2:] <= 0)).any(1).sum())
    if beside:
        raise DataError(
            f"{beside} of {len(boxes)} boxes of a {split} image lie outside {width} x {height} "
            "pixels. Boxes are x1, y1, x2, y2 in pixels of the image as it is given."
        )
    if int(labels.min()) < 0:
        raise DataError(f"Labels must be classes from 0. A {split} image has {int(labels.min())}.")


def check_masks(target: Mapping[str, Any], size: tuple[int, int], split: Split) -> None:
    """Refuse a target without a mask for each box, as large as the image.

    Raises:
        DataError: If it has none, or of another form.
    """
    masks, count = target.get("masks"), len(target["boxes"])
    fits = isinstance(masks, Tensor) and masks.shape == (count, *size)
    if not fits or target["masks"].dtype not in (torch.bool, torch.uint8):
        raise DataError(
            f"With of='masks', {split} targets must hold 'masks', booleans or uint8 of 0 and 1, "
            f"[{count}, {size[0]}, {size[1]}] for an image of that size with {count} boxes. Got "
            f"{described(masks)}."
        )


def _fits(boxes: Any, labels: Any) -> bool:
    return (
        isinstance(boxes, Tensor)
        and isinstance(labels, Tensor)
        and boxes.is_floating_point()
        and labels.dtype in INTEGERS
        and boxes.ndim == 2
        and boxes.shape[1] == 4
        and labels.shape == boxes.shape[:1]
    )
