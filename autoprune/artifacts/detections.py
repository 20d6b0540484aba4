"""How far two sets of detections are apart, which may be ordered and counted differently."""

from collections.abc import Sequence

import torch

from autoprune.surgery.compare import difference


def gap(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """Return the largest difference between what two models give, see `difference`.

    What comes after non-maximum suppression may differ in number where scores are next to equal.
    Boxes and scores are compared as sets then: a detection that the other one lacks counts as
    much as its score.

    Args:
        left: Floating-point outputs of one model.
        right: Of the other.
    """
    if [x.shape for x in left] == [x.shape for x in right]:
        found = difference(left, right)
        if found < _CLOSE:
            return found
    if _detections(left) and _detections(right):
        return max(_lacking(left, right), _lacking(right, left))
    return difference(left, right)


_CLOSE = 1e-4


def _detections(outputs: Sequence[torch.Tensor]) -> bool:
    """Tell whether they are boxes and their scores, of one image."""
    if [x.ndim for x in outputs] != [2, 1]:
        return False
    boxes, scores = outputs
    inside = bool(((scores >= 0) & (scores <= 1)).all())
    return boxes.shape == (len(scores), 4) and inside


def _lacking(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    """Return the largest distance of one of our detections from the nearest of theirs."""
    boxes, scores = ours
    if not len(scores):
        return 0.0
    if not len(theirs[1]):
        return float(scores.max())
    size = boxes.abs().max().clamp_min(1e-12)
    apart = torch.cdist(boxes, theirs[0], p=torch.inf) / size
    apart = torch.maximum(apart, (scores[:, None] - theirs[1][None]).abs())
    return float(torch.minimum(apart.min(1).values, scores).max())
