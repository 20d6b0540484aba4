"""Shadows: which channel ids every entry of a tensor depends on.

A shadow is a tuple of *tracks*. A track is an integer array with as many axes as its tensor, of
size 1 along each axis on which it does not vary, so the output of a convolution has one track of
shape ``[1, channels, 1, 1]``. The tracks of one tensor vary on disjoint axes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from autoprune.surgery.ids import Ids


class Unruled(Exception):
    """An op meets a case its rule does not cover: everything it touches gets sealed."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """What is known of one tensor.

    Args:
        tracks: The channel ids its entries depend on.
        from_input: Whether it depends on the model's inputs (an activation) or only on
            parameters and constants.
    """

    tracks: tuple[Ids, ...] = ()
    from_input: bool = False

    def along(self, axis: int) -> Ids | None:
        """Return the track that varies along ``axis``, if there is one."""
        return next((track for track in self.tracks if track.shape[axis] > 1), None)

    def off(self, axes: Iterable[int]) -> tuple[Ids, ...]:
        """Return the tracks that vary along none of ``axes``."""
        axes = tuple(axes)
        return tuple(t for t in self.tracks if all(t.shape[axis] == 1 for axis in axes))

    def on(self, axes: Iterable[int]) -> tuple[Ids, ...]:
        """Return the tracks that vary along any of ``axes``."""
        axes = tuple(axes)
        return tuple(t for t in self.tracks if any(t.shape[axis] > 1 for axis in axes))


def varying(track: Ids) -> frozenset[int]:
    """Return the axes along which ``track`` varies."""
    return frozenset(axis for axis, size in enumerate(track.shape) if size > 1)


def lift(track: Ids, ndim: int) -> Ids:
    """Return ``track`` with leading axes of size 1 added, as broadcasting does."""
    return track.reshape((1,) * (ndim - track.ndim) + track.shape)


def line(track: Ids, axis: int) -> Ids:
    """Return the ids along ``axis`` as a vector.

    Raises:
        Unruled: If the track varies along another axis as well.
    """
    if varying(track) != {axis}:
        raise Unruled("channels are spread over several axes")
    return track.ravel()


def axis_track(ids: Ids, axis: int, ndim: int) -> Ids:
    """Return the track of a tensor with ``ndim`` axes that varies along ``axis`` as ``ids``."""
    return ids.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


def reshape(track: Ids, old: Sequence[int], new: Sequence[int]) -> Ids:
    """Return the track of a tensor viewed from shape ``old`` as shape ``new``.

    Axes are matched in the smallest groups of equal size; a group the track does not vary on
    stays of size 1, so no array of the tensor's full size is built.
    """
    sizes: list[int] = []
    expanded: list[int] = []
    for before, after in _axis_groups(old, new):
        flat = any(track.shape[axis] > 1 for axis in before)
        expanded += [old[axis] if flat else 1 for axis in before]
        sizes += [new[axis] if flat else 1 for axis in after]
    return squash(np.broadcast_to(track, expanded).reshape(sizes))


def _axis_groups(
    old: Sequence[int], new: Sequence[int]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Split the axes of two shapes of equal size into the smallest groups of equal size."""
    cuts = {0: 0}
    sizes_new = {prod(new[:count]): count for count in reversed(range(len(new) + 1))}
    for count in range(1, len(old) + 1):
        size = prod(old[:count])
        if size in sizes_new and sizes_new[size] >= max(cuts.values()):
            cuts[count] = sizes_new[size]
    cuts[len(old)] = len(new)
    ends = sorted(cuts.items())
    return [
        (tuple(range(a, b)), tuple(range(c, d))) for (a, c), (b, d) in pairwise(ends) if b or d
    ]


def squash(track: Ids) -> Ids:
    """Reduce each axis along which all entries are equal to size 1."""
    for axis, size in enumerate(track.shape):
        if size > 1:
            first = track.take([0], axis=axis)
            if (track == first).all():
                track = first
    return np.ascontiguousarray(track)
