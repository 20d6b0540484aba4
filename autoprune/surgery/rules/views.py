"""Ops that only move entries are applied to the tracks themselves."""

from itertools import combinations

import numpy as np
import torch

from autoprune.surgery.ids import NO_ID, Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.elementwise import join_tracks, seal_unmatched
from autoprune.surgery.rules.grouping import settle
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import Shadow, Unruled, lift, reshape, varying


@rule("aten.view", "aten._unsafe_view", "aten._reshape_alias", "aten.unsqueeze", "aten.squeeze")
def view(op: Op) -> None:
    """Any view that keeps the order of entries."""
    old, new = op.arg("self").shape, op.outputs[0].shape
    if 0 in old:
        raise Unruled("a tensor without entries")
    tracks = [settle(op, reshape(track, old, new)) for track in op.shadow("self").tracks]
    crowded = {
        at
        for pair in combinations(range(len(tracks)), 2)
        if varying(tracks[pair[0]]) & varying(tracks[pair[1]])
        for at in pair
    }
    op.seal([tracks[at] for at in crowded], "two kinds of channels end up on one axis")
    op.give(tuple(track for at, track in enumerate(tracks) if at not in crowded))


@rule("aten.permute", "aten.transpose", "aten.t")
def permute(op: Op) -> None:
    """Axes change places."""
    order = list(range(op.arg("self").ndim))
    if op.name == "aten.permute":
        order = [dim % len(order) for dim in op.arg("dims")]
    elif op.name == "aten.t":
        order.reverse()
    else:
        first, second = op.arg("dim0"), op.arg("dim1")
        order[first], order[second] = order[second], order[first]
    op.give(tuple(track.transpose(order) for track in op.shadow("self").tracks))


@rule("aten.expand")
def expand(op: Op) -> None:
    """New or stretched axes do not vary."""
    op.give(tuple(lift(track, op.outputs[0].ndim) for track in op.shadow("self").tracks))


@rule("aten.cat")
def cat(op: Op) -> None:
    """Tracks along the axis are laid end to end, the others are joined."""
    tensors = [tensor for tensor in op.arg("tensors") if tensor.numel()]
    _lay(op, tensors, op.arg("dim") % op.outputs[0].ndim)


@rule("aten.stack")
def stack(op: Op) -> None:
    """Like cat, each operand with a new axis of size 1."""
    axis = op.arg("dim") % op.outputs[0].ndim
    rows = []
    for tensor in op.arg("tensors"):
        known, row = op.record.shadow(tensor), tensor.unsqueeze(axis)
        tracks = tuple(np.expand_dims(track, axis) for track in known.tracks)
        op.record.shadows[row] = Shadow(tracks, known.from_input)
        rows.append(row)
    _lay(op, rows, axis)


def _lay(op: Op, tensors: list[torch.Tensor], axis: int) -> None:
    ends = [op.record.shadow(tensor).along(axis) for tensor in tensors]
    others: list[Ids] = []
    for tensor in tensors:
        for track in op.record.shadow(tensor).off((axis,)):
            join_tracks(op, others, track)
    for tensor in tensors:
        seal_unmatched(op, others, tensor)
    if any(end is not None for end in ends):
        pieces = [
            _piece(end, t.shape[axis], axis, t.ndim) for end, t in zip(ends, tensors, strict=True)
        ]
        others.append(np.concatenate(pieces, axis=axis))
    op.give(tuple(others))


def _piece(track: Ids | None, size: int, axis: int, ndim: int) -> Ids:
    """Return one operand's ids along ``axis``: its own, or none for its whole length."""
    if track is None:
        return np.full([size if at == axis else 1 for at in range(ndim)], NO_ID)
    if varying(track) != {axis}:
        raise Unruled("channels are spread over several axes")
    return track


@rule("aten.as_strided_")
def restride(op: Op) -> None:
    """Pooling to one place marks its output as channels-last, which moves nothing."""
    out = op.outputs[0]
    flat = out.ndim > 2 and all(size == 1 for size in out.shape[2:])
    if not flat or out.stride()[:2] != (out.shape[1], 1) or out.storage_offset():
        raise Unruled("lays memory out anew")
    op.give(op.shadow("self").tracks)
