"""How far two sets of detections are apart, which may be ordered and counted differently."""

from collections.abc import Sequence

import torch

from autoprune.surgery.compare import difference


def gap(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """Return the largest difference between what two models give, see `difference`.

    What comes after non-maximum suppression may differ in number where scores are next to equal.
    Boxes, scores and masks are compared as sets then: a detection that the other one lacks counts
    as much as its score, relative to the best one's.

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
    """Tell whether they are boxes, their scores and perhaps masks, of one image."""
    if [x.ndim for x in outputs[:2]] != [2, 1] or len({len(x) for x in outputs if x.ndim}) != 1:
        return False
    boxes, scores = outputs[:2]
    return boxes.shape[1] == 4 and bool(((scores >= 0) & (scores <= 1)).all())


def _lacking(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    """Return the largest distance of one of our detections from the nearest of theirs."""
    weights = ours[1] / torch.cat([ours[1], theirs[1]]).max().clamp_min(1e-12)
    if not len(weights) or not len(theirs[1]):
        return float(weights.max()) if len(weights) else 0.0
    apart = torch.zeros(len(ours[1]), len(theirs[1]))
    for one, other in zip(ours, theirs, strict=True):
        size = one.abs().max().clamp_min(1e-12)
        own = torch.cdist(
            one.flatten(1) if one.ndim > 1 else one[:, None],
            other.flatten(1) if other.ndim > 1 else other[:, None],
            p=torch.inf,
        )
        apart = torch.maximum(apart, own / size)
    return float(torch.minimum(apart.min(1).values, weights).max())
