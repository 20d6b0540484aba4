"""Images and masks, as loaders yield them and as a model's outputs must fit them."""

from collections.abc import Mapping
from typing import Any

import torch

from autoprune.errors import DataError
from autoprune.tasks.base import Split
from autoprune.tasks.loaded import INTEGERS, described


def check_images_and_masks(batch: Any, key: str, split: Split) -> None:
    """Check the form of a batch.

    Args:
        batch: What a loader yielded: ``(images, masks)``, or a mapping.
        key: That of the masks in a mapping.
        split: Name of the split, for errors.

    Raises:
        DataError: If it is no batch of images and masks, or they differ in size.
    """
    images, masks = _parts(batch, key)
    if images is None or masks is None:
        raise DataError(
            f"The {split} loader must yield (images, masks), float images [samples, channels, h, "
            f"w] and integer masks [samples, h, w], or a mapping with the masks as {key!r}. Got "
            f"{described(batch)}."
        )
    (tall, wide), (high, broad) = images.shape[-2:], masks.shape[-2:]
    if (tall, wide) != (high, broad):
        raise DataError(
            f"The {split} loader must yield masks as large as their images. Got masks of "
            f"{high} x {broad} for images of {tall} x {wide}. Resize masks without blending "
            "(nearest neighbour)."
        )


def _parts(batch: Any, key: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return images and masks of a batch, None for what has not the form of either."""
    masks: Any
    if isinstance(batch, Mapping):
        masks, others = batch.get(key), [value for name, value in batch.items() if name != key]
    elif isinstance(batch, (tuple, list)) and len(batch) == 2:
        masks, others = batch[1], [batch[0]]
    else:
        return None, None
    if not _is(masks, 3) or masks.dtype not in INTEGERS:
        return None, None
    images = (one for one in others if _is(one, 4) and one.is_floating_point())
    return next((one for one in images if len(one) == len(masks) > 0), None), masks


def _is(value: Any, dims: int) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == dims


def check_pixels(logits: Any, masks: torch.Tensor, ignore: int) -> None:
    """Check that a model's outputs fit the masks.

    Args:
        logits: What a model gave: ``samples x classes x ...`` is wanted.
        masks: Integers, ``samples x h x w``.
        ignore: Class of the pixels that do not count.

    Raises:
        DataError: If they do not.
    """
    if not isinstance(logits, torch.Tensor) or logits.ndim != 4:
        raise DataError(
            "A segmentation model must return a tensor [samples, classes, h, w], a mapping with "
            f"it as 'out', or something with it as 'logits'. Got {described(logits)}."
        )
    samples, classes = logits.shape[:2]
    if samples != len(masks):
        raise DataError(
            f"The model gave {samples} outputs for {len(masks)} masks. Each sample needs one of "
            "both."
        )
    if classes < 2:
        raise DataError(
            "A segmentation model must have an output for each class, the background being one: "
            f"2 or more. Got {classes}."
        )
    if bool((masks == ignore).all()):
        raise DataError(
            f"The masks of the first batch hold {ignore} alone, the class to be ignored, so there "
            "is nothing to learn. Check the masks, or the task's setting 'ignore'."
        )
    check_classes(masks, classes, ignore)


def check_classes(masks: torch.Tensor, classes: int, ignore: int) -> None:
    """Check that masks hold classes of a model.

    Args:
        masks: Integers, ``samples x h x w``.
        classes: How many the model has.
        ignore: Class of the pixels that do not count.

    Raises:
        DataError: If one does not.
    """
    counted = masks[masks != ignore]
    if not counted.numel():
        return
    low, high = (int(one) for one in torch.aminmax(counted))
    if low < 0 or high >= classes:
        raise DataError(
            f"Masks must hold classes 0 to {classes - 1}, as the model has {classes} outputs, or "
            f"{ignore} for pixels to be ignored. Got {low} to {high}."
        )
