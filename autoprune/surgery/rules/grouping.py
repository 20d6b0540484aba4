"""Channels in groups of equal size: either whole groups go, or the same place in every group.

Both keep every group as large as the others, which is what grouped convolutions, group norms,
chunks and channel shuffles need.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from autoprune.surgery.ids import Ids
from autoprune.surgery.op import Op
from autoprune.surgery.shadow import varying


def whole_groups(groups: int, width: int) -> bool:
    """Tell whether groups are removed whole: they are if there are more of them than members."""
    return width <= groups


def join_groups(op: Op, channels: Ids, groups: int) -> None:
    """Join a line of ``groups`` equal parts so that what is removed leaves equal parts."""
    width = len(channels) // groups
    parts = channels.reshape(groups, width)
    if whole_groups(groups, width):
        join_all(op, parts, axis=1)
    else:
        join_all(op, parts, axis=0)


def join_all(op: Op, ids: Ids, axis: int) -> Ids:
    """Join all ids along ``axis`` and return those of its first place, the axis at size 1."""
    first = ids.take([0], axis=axis)
    if ids.shape[axis] > 1:
        left, right = np.broadcast_arrays(first, ids)
        op.ids.join(left, right, f"{op.name}: shares its place with a channel without an id")
    return first


def settle(op: Op, track: Ids) -> Ids:
    """Return a track that varies along one axis at most, ids that must go together joined.

    Channels laid out over several axes can only be removed in whole rows of one of them. The
    axis that leaves most to decide is preferred (usually the width of heads); a trace of rank 1
    takes the runner-up (usually the heads).
    """
    axes = sorted(varying(track), key=lambda axis: (-_freedom(track, axis), axis))
    if len(axes) < 2:
        return track
    op.record.axes = max(op.record.axes, len(axes))
    if op.record.rank:
        others = sorted(axes[1:], key=lambda axis: (-_freedom(track, axis), -axis))
        chosen = others[min(op.record.rank, len(others)) - 1]
        axes = [chosen, *(axis for axis in axes if axis != chosen)]
    for axis in axes[1:]:
        track = join_all(op, track, axis)
    return track


def _freedom(track: Ids, axis: int) -> int:
    """Return how many independent choices are left if whole rows along ``axis`` are removed."""
    ids, places = np.unique(track, return_inverse=True)
    shape = [track.shape[axis] if at == axis else 1 for at in range(track.ndim)]
    rows = np.broadcast_to(np.arange(track.shape[axis]).reshape(shape), track.shape).ravel()
    size = track.shape[axis] + len(ids)
    pairs = (rows, places.ravel() + track.shape[axis])
    graph = coo_matrix((np.ones(len(rows), np.int8), pairs), (size, size))
    return int(connected_components(graph, directed=False)[0])
