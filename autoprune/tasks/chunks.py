"""Split a batch, whatever its form, into smaller ones."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch


def chunks(batch: Any, samples: int, size: int) -> list[Any]:
    """Return ``batch`` in parts of at most ``size`` samples, as even as possible.

    Tensors whose first axis holds the samples and lists with one entry for each sample are cut,
    also inside the tuple or mapping that a batch usually is. A batch that holds anything else
    stays whole.

    Args:
        batch: What a loader yields.
        samples: Samples in it.
        size: Samples per part, at least 1.
    """
    count = -(-samples // size)
    bounds = [samples * part // count for part in range(count + 1)]
    try:
        return [_part(batch, samples, slice(*pair)) for pair in pairwise(bounds)]
    except _Whole:
        return [batch]


def first_samples(batch: Any, samples: int, count: int) -> Any:
    """Return the first ``count`` of the samples of a batch, or all of one that cannot be cut.

    Args:
        batch: What a loader yields.
        samples: Samples in it, at least ``count``.
        count: Samples wanted.
    """
    try:
        return _part(batch, samples, slice(count))
    except _Whole:
        return batch


class _Whole(Exception):
    """Part of a batch that belongs to all of its samples."""


def _part(batch: Any, samples: int, own: slice) -> Any:
    if isinstance(batch, Mapping):
        kind = OrderedDict if type(batch) is OrderedDict else dict
        return kind((key, _cut(value, samples, own)) for key, value in batch.items())
    if type(batch) in (tuple, list):
        return type(batch)(_cut(value, samples, own) for value in batch)
    return _cut(batch, samples, own)


def _cut(value: Any, samples: int, own: slice) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == samples:
        return value[own]
    if type(value) in (tuple, list) and len(value) == samples:
        return value[own]
    if isinstance(value, Mapping):
        return _part(value, samples, own)
    raise _Whole


def joined(batches: Sequence[Any], samples: Sequence[int]) -> tuple[Any, int]:
    """Return batches as one, and its samples: what `chunks` would part again.

    Batches that do not go together, for instance of images of other sizes in one tensor, are left
    out but for the first.

    Args:
        batches: What a loader yields, at least one.
        samples: Samples in each.
    """
    try:
        return _joined(batches, samples), sum(samples)
    except _Whole:
        return batches[0], samples[0]


def _joined(parts: Sequence[Any], samples: Sequence[int]) -> Any:
    first = parts[0]
    if len({type(part) for part in parts}) > 1:
        raise _Whole
    if isinstance(first, Mapping) and all(part.keys() == first.keys() for part in parts):
        kind = OrderedDict if type(first) is OrderedDict else dict
        return kind((key, _linked([part[key] for part in parts], samples)) for key in first)
    if type(first) in (tuple, list) and all(len(part) == len(first) for part in parts):
        return type(first)(_linked(values, samples) for values in zip(*parts, strict=True))
    return _linked(parts, samples)


def _linked(values: Sequence[Any], samples: Sequence[int]) -> Any:
    first = values[0]
    if len({type(value) for value in values}) > 1:
        raise _Whole
    if isinstance(first, torch.Tensor):
        alike = {(value.shape[1:], value.dtype) for value in values}
        if first.ndim and len(alike) == 1 and [*map(len, values)] == [*samples]:
            return torch.cat([*values])
    elif type(first) in (tuple, list) and [*map(len, values)] == [*samples]:
        return type(first)(one for value in values for one in value)
    elif isinstance(first, Mapping):
        return _joined(values, samples)
    raise _Whole
