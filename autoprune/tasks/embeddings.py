"""What a model of two towers returns, whatever its form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from autoprune.errors import DataError
from autoprune.surgery.nested import tensors_in
from autoprune.tasks.loaded import described

_WANT = (
    "(image embeddings, text embeddings) or, as a third, the logit scale; or a mapping or object "
    "with 'image_embeds', 'text_embeds' and perhaps 'logit_scale' or 'logits_per_image'"
)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the pairs of a batch.

    Args:
        images: ``[pairs, width]``, of any length.
        texts: ``[pairs, width]``, of any length.
        scale: What similarities are multiplied by, a scalar; None if the model does not say.
        logits: Scaled similarities, images by texts, if the model gives them.
    """

    images: torch.Tensor
    texts: torch.Tensor
    scale: torch.Tensor | None = None
    logits: torch.Tensor | None = None

    @classmethod
    def of(cls, outputs: Any) -> "Embeddings":
        """Return the embeddings in what a model returned.

        Raises:
            DataError: If there are none.
        """
        names = ("image_embeds", "text_embeds", "logit_scale", "logits_per_image")
        found = [_named(outputs, name) for name in names]
        if isinstance(outputs, (tuple, list)) and len(outputs) in (2, 3):
            found[: len(outputs)] = outputs
        if not all(isinstance(one, torch.Tensor) for one in found[:2]):
            raise DataError(f"A model of two towers must return {_WANT}. Got {_told(outputs)}.")
        return cls(*found)

    def similarities(self, temperature: float | None, default: float) -> torch.Tensor:
        """Return scaled cosines, images by texts.

        Args:
            temperature: What cosines are divided by; None takes what the model says.
            default: What they are divided by if the model says nothing.
        """
        if temperature is None and self.scale is None and self.logits is not None:
            return self.logits.float()
        cosines = normalize(self.images.float()) @ normalize(self.texts.float()).T
        if temperature is None and self.scale is not None:
            return cosines * self.scale.float()
        return cosines / (default if temperature is None else temperature)


def check_embeddings(outputs: Any, pairs: int) -> None:
    """Raise `DataError` unless outputs are finite embeddings of so many pairs."""
    found = Embeddings.of(outputs)
    images, texts = list(found.images.shape), list(found.texts.shape)
    if images != texts or len(images) != 2 or len(found.images) != pairs:
        raise DataError(
            f"Images and texts must have embeddings of one width, [{pairs}, width] each for "
            f"{pairs} pairs. Got {images} of the images and {texts} of the texts."
        )
    if found.scale is not None and not (found.scale.numel() == 1 and bool(found.scale > 0)):
        raise DataError(
            "The logit scale must be one number above 0, what similarities are multiplied by (the "
            f"exponential of what CLIP learns). Got {_number(found.scale)}."
        )
    if found.logits is not None and list(found.logits.shape) != [pairs, pairs]:
        raise DataError(
            f"'logits_per_image' must be [{pairs}, {pairs}], images by texts. "
            f"Got {list(found.logits.shape)}."
        )
    given = (found.images, found.texts, found.scale, found.logits)
    if not all(bool(torch.isfinite(one).all()) for one in given if one is not None):
        raise DataError(
            "The model's embeddings are NaN or infinite on the first batch of a split. Check the "
            "checkpoint, and the data for samples that are not finite."
        )


def _named(outputs: Any, name: str) -> Any:
    return outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)


def _number(scale: torch.Tensor) -> str:
    return f"{float(scale):g}" if scale.numel() == 1 else described(scale)


def _told(outputs: Any) -> str:
    known = isinstance(outputs, (torch.Tensor, tuple, list, Mapping)) or not list(
        tensors_in(outputs)
    )
    return described(outputs) if known else f"{type(outputs).__name__} without them"
