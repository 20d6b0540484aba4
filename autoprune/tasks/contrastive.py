"""Contrastive image-text models: two towers, InfoNCE over the pairs of a batch, recall@k."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch.nn.functional import cross_entropy

from autoprune.core.numbers import check_at_least
from autoprune.core.words import check_choice
from autoprune.errors import DataError
from autoprune.surgery.nested import Inputs
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.embeddings import Embeddings, check_embeddings
from autoprune.tasks.loaded import LoadedTask, described
from autoprune.tasks.retrieval import Recall, captions

Direction = Literal["both", "image-to-text", "text-to-image"]
TEMPERATURE = 0.07  # what CLIP's training begins with
IMAGES, TOKENS, MASK = "pixel_values", "input_ids", "attention_mask"  # as CLIP of Hugging Face


class Contrastive(LoadedTask):
    """Pairs of an image and a caption; a model of two towers embeds both in one space.

    The model gets all of a batch, and returns ``(image embeddings, text embeddings)``, both
    ``[pairs, width]``, or as a third what similarities are multiplied by (CLIP's
    ``logit_scale.exp()``); else a mapping or object with ``image_embeds``, ``text_embeds`` and
    perhaps ``logit_scale`` or ``logits_per_image``. Embeddings are normalised here.

    Pairs with the same tokens have the same caption, and none of them is a wrong answer for
    another. The loss is over pairs, so a batch of more pairs has a higher one.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders that yield
            ``(images, tokens)`` or ``(images, tokens, mask)``: floats ``[pairs, ...]`` and
            integers ``[pairs, length]`` of one length throughout; or mappings with
            ``pixel_values``, ``input_ids`` and whatever else the model takes by name.
        recall_at: The metric is recall@k: k.
        direction: What is looked for: captions of an image, images of a caption, or both, the
            mean of the two.
        temperature: What similarities are divided by, whatever the model says; None takes the
            model's own scale, or 0.07 where it returns none.

    Raises:
        ConfigError: If a setting is not allowed.
        DataError: If a split is missing or cannot be iterated over again.
    """

    name = "contrastive"
    is_share = True

    def __init__(
        self,
        data: Any,
        *,
        recall_at: int = 1,
        direction: Direction = "both",
        temperature: float | None = None,
    ) -> None:
        check_at_least("recall_at", recall_at, 1, int)
        check_choice("direction", direction, get_args(Direction))
        if temperature is not None:
            check_at_least("temperature", temperature, 1e-6, int | float)
        super().__init__(data)
        self._recall_at, self._direction, self._temperature = recall_at, direction, temperature
        one_way = "" if direction == "both" else f" {direction}"
        self.metric_name = f"recall@{recall_at}{one_way}"
        self._length: int | None = None  # of the tokens of all captions, once one was seen

    @property
    def settings(self) -> Mapping[str, Any]:
        """What changes loss or metric; see `Task`."""
        return {
            "recall_at": self._recall_at,
            "direction": self._direction,
            "temperature": self._temperature,
        }

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` unless it holds images and tokens of the one length."""
        _check_form(batch, split)
        length = self.targets(batch).shape[1]
        if length != (self._length or length):
            raise DataError(
                f"All captions must have as many tokens, and the {split} loader yielded "
                f"{length} after {self._length}. Pad every caption to one length (for a tokenizer "
                "of Hugging Face: padding='max_length', truncation=True)."
            )
        self._length = length

    def inputs(self, batch: Any) -> Inputs:
        """Return all of a batch; see `Task.inputs`."""
        return dict(batch) if isinstance(batch, Mapping) else tuple(batch)

    def targets(self, batch: Any) -> Any:
        """Return the tokens of a batch, which say what pairs belong together."""
        return batch[TOKENS] if isinstance(batch, Mapping) else batch[1]

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        """Return InfoNCE, the mean of both directions, see `Task.loss`.

        A row of similarities is a distribution over the batch; all pairs with the caption of the
        row share its target alike, as in Yang et al. 2022, UniCL, arXiv:2204.03610 (and Khosla
        et al. 2020, arXiv:2004.11362). Where all captions differ it is the loss of CLIP, Radford
        et al. 2021, arXiv:2103.00020. The least a row can have is the logarithm of how many
        share it. A batch of one pair has a loss of 0.
        """
        number = captions(self.targets(batch))
        same = (number[:, None] == number).float()
        images, texts = self.logits(outputs)
        target = same / same.sum(dim=1, keepdim=True)
        return (cross_entropy(images, target) + cross_entropy(texts, target)) / 2

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the scaled similarities of a batch, ``2 x pairs x pairs``; see `HasLogits`.

        First a row for each image over the captions, then a row for each caption over the images.
        To compare them with another model's is the affinity mimicking of Wu et al. 2023, TinyCLIP,
        arXiv:2309.12314.
        """
        found = Embeddings.of(outputs).similarities(self._temperature, TEMPERATURE)
        return torch.stack([found, found.T])

    def metric(self) -> Recall:
        """Return a fresh recall; see `Task.metric`."""
        return Recall(self._recall_at, self._direction, self.targets)

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` unless they are finite embeddings of pairs of several captions."""
        tokens = self.targets(batch)
        check_embeddings(outputs, len(tokens))
        if len(captions(tokens).unique()) < 2:
            raise DataError(
                f"All {len(tokens)} pairs of a first batch have the same caption, so nothing is "
                "told apart. Use a larger batch size, or shuffle the samples."
            )


def _check_form(batch: Any, split: Split) -> None:
    want = (
        "(images, tokens) or (images, tokens, mask), or a mapping with "
        f"{IMAGES!r} and {TOKENS!r}: float images [pairs, ...] and integer tokens [pairs, length]"
    )
    parts: list[Any] = []
    if isinstance(batch, Mapping):
        parts = [batch.get(key) for key in (IMAGES, TOKENS)]
        parts += [batch[MASK]] if batch.get(MASK) is not None else []
    elif isinstance(batch, (tuple, list)):
        parts = list(batch)
    if not _fits(parts):
        raise DataError(f"The {split} loader must yield {want}. Got {described(batch)}.")


def _fits(parts: list[Any]) -> bool:
    if len(parts) not in (2, 3) or not all(isinstance(one, torch.Tensor) for one in parts):
        return False
    images, tokens, *mask = parts
    return (
        images.is_floating_point()
        and images.ndim >= 2
        and tokens.dtype in (torch.int64, torch.int32)
        and tokens.ndim == 2
        and len(images) == len(tokens) > 0
        and tokens.shape[1] > 0
        and all(len(one) == len(tokens) for one in mask if one.ndim)
    )


TASKS.add("contrastive", Contrastive)
