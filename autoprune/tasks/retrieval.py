"""Retrieval over a whole split: images by captions, captions by images."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.nn.functional import normalize

from autoprune.tasks.embeddings import Embeddings

_ROWS = 1024  # queries at a time: the similarities of a split with itself may not fit in memory


class Recall:
    """Share of queries one of whose right answers is among the ``at`` most similar, ``[0, 1]``.

    Answers are all images, or all captions, of the split; every pair with the caption of the
    query is right. A wrong answer as similar as the best right one comes before it, so that a
    model which embeds all alike finds nothing. Embeddings are kept on the CPU.

    Args:
        at: The k of recall@k.
        direction: What is looked for, ``both`` for the mean of the two.
        tokens: Returns the tokens of a batch.
    """

    def __init__(
        self,
        at: int,
        direction: Literal["both", "image-to-text", "text-to-image"],
        tokens: Callable[[Any], torch.Tensor],
    ) -> None:
        self._at, self._direction, self._tokens_of = at, direction, tokens
        self._images: list[torch.Tensor] = []
        self._texts: list[torch.Tensor] = []
        self._tokens: list[torch.Tensor] = []

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in the embeddings of a batch."""
        found = Embeddings.of(outputs)
        self._images.append(_kept(found.images))
        self._texts.append(_kept(found.texts))
        self._tokens.append(self._tokens_of(batch).cpu())

    def compute(self) -> float:
        """Return the recall over everything taken in."""
        images, texts = torch.cat(self._images), torch.cat(self._texts)
        number = captions(torch.cat(self._tokens))
        found = []
        if self._direction != "text-to-image":
            found.append(recall(images, texts, number, self._at))
        if self._direction != "image-to-text":
            found.append(recall(texts, images, number, self._at))
        return sum(found) / len(found)


def captions(tokens: torch.Tensor) -> torch.Tensor:
    """Return the number of the caption of each pair, ``[pairs]``: the same for the same tokens.

    Args:
        tokens: ``[pairs, length]``.
    """
    number: torch.Tensor = torch.unique(tokens, dim=0, return_inverse=True)[1]
    return number


def recall(queries: torch.Tensor, answers: torch.Tensor, number: torch.Tensor, at: int) -> float:
    """Return the share of queries with a right answer among the ``at`` most similar.

    Args:
        queries: Embeddings, ``[pairs, width]``.
        answers: Embeddings, ``[pairs, width]``.
        number: Of the caption of each pair, ``[pairs]``.
        at: How many answers count.
    """
    found = 0
    for rows, own in zip(queries.split(_ROWS), number.split(_ROWS), strict=True):
        similar = rows @ answers.T
        right = own[:, None] == number
        best = similar.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        before = (~(similar < best) & ~right).sum(dim=1)
        found += int((before < at).sum())
    return found / len(queries)


def _kept(embeddings: torch.Tensor) -> torch.Tensor:
    return normalize(embeddings.detach().float()).cpu()
