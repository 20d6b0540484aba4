"""Ops that pick, repeat or move entries are run on the tracks themselves."""

from math import gcd

import numpy as np
import torch

from autoprune.surgery.ids import NO_ID, Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.grouping import join_all, settle
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import axis_track, line, squash


@rule("aten.slice", "aten.narrow")
def piece(op: Op) -> None:
    """A piece whose size divides a channel axis keeps its share; any other is sealed."""
    axis = op.arg("dim") % op.arg("self").ndim
    _pieces(op, axis, [_start(op, axis)])


@rule("aten.split", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split")
def split(op: Op) -> None:
    """Chunks keep the proportion of their sizes."""
    axis = op.arg("dim") % op.arg("self").ndim
    starts = np.cumsum([0, *(out.shape[axis] for out in op.outputs[:-1])]).tolist()
    _pieces(op, axis, starts)


def _start(op: Op, axis: int) -> int:
    start: int = op.arg("start") or 0
    size: int = op.arg("self").shape[axis]
    return min(max(start + size, 0) if start < 0 else start, size)


def _pieces(op: Op, axis: int, starts: list[int]) -> None:
    """Give each output its part of the track along ``axis``, and all the other tracks.

    The same places go from every stretch of the greatest length that all sizes are multiples of,
    which leaves the sizes in proportion.
    """
    shadow = op.shadow("self")
    others = shadow.off((axis,))
    found = shadow.along(axis)
    if found is None:
        op.give(*[others for _ in op.outputs])
        return
    sizes = [out.shape[axis] for out in op.outputs]
    channels, length = line(found, axis), gcd(*sizes)
    stride = op.arg("step") if op.has("step") else 1
    if stride != 1 or length < 2 or len(channels) % length or any(s % length for s in starts):
        op.seal([channels], "takes a piece whose size is fixed")
        op.give(*[others for _ in op.outputs])
        return
    join_all(op, channels.reshape(-1, length), axis=0)
    ndim = op.arg("self").ndim
    places = zip(starts, sizes, strict=True)
    parts = [axis_track(channels[s : s + size], axis, ndim) for s, size in places]
    op.give(*[(part, *others) for part in parts])


@rule("aten.glu")
def gated(op: Op) -> None:
    """Half of the channels times a function of the other half: pairs go, as from two chunks."""
    _pieces(op, op.arg("dim") % op.arg("self").ndim, [0])


@rule("aten.select", "aten.unbind")
def select(op: Op) -> None:
    """One place of an axis; the channels of that axis lose their freedom."""
    axis = op.arg("dim") % op.arg("self").ndim
    op.seal(op.shadow("self").on((axis,)), "takes single places")
    kept = tuple(track.squeeze(axis) for track in op.shadow("self").off((axis,)))
    op.give(*[kept for _ in op.outputs])


@rule("aten.embedding")
def lookup(op: Op) -> None:
    """Whole numbers pick rows of a table: its columns pass, its rows keep their places."""
    op.seal(op.shadow("weight").on((0,)), "takes single rows")
    op.seal(op.shadow("indices").tracks, "takes single rows")
    columns, ndim = op.line("weight", 1), op.outputs[0].ndim
    op.give(() if columns is None else (axis_track(columns, ndim - 1, ndim),))


@rule("aten.roll", "aten.flip", "aten.index", "aten.index_select", "aten.unfold")
def rearrange(op: Op) -> None:
    """Entries move by fixed positions; an axis whose channels do is sealed."""
    _replay(op, free_along_moved=False)


@rule("aten.constant_pad_nd")
def pad(op: Op) -> None:
    """Constants beside a channel axis have no ids; padding of other axes changes nothing."""
    ndim, amounts = op.arg("self").ndim, op.arg("pad")
    tracks = []
    for track in op.shadow("self").tracks:
        widths = [(0, 0)] * ndim
        for axis in range(len(amounts) // 2):
            if track.shape[ndim - 1 - axis] > 1:
                widths[ndim - 1 - axis] = (amounts[2 * axis], amounts[2 * axis + 1])
        if any(amount < 0 for width in widths for amount in width):
            op.seal([track], "cuts off channels")
        else:
            tracks.append(np.pad(track, widths, constant_values=NO_ID))
    op.give(tuple(tracks))


@rule("aten.repeat", "aten.pixel_shuffle", "aten.pixel_unshuffle")
def spread(op: Op) -> None:
    """Channels are repeated or spread over space; what moves keeps its id."""
    _replay(op, free_along_moved=True)


@rule("aten.im2col")
def to_patches(op: Op) -> None:
    """``[batch, channels, ...]`` to ``[batch, channels x places, patches]``."""
    shadow, out = op.shadow("self"), op.outputs[0]
    op.seal(shadow.off((-3,)), "mixes this axis")
    channels = op.line("self", -3)
    if channels is None:
        op.give()
        return
    repeated = np.repeat(channels, out.shape[-2] // len(channels))
    op.give((axis_track(repeated, out.ndim - 2, out.ndim),))


@rule("aten.col2im")
def from_patches(op: Op) -> None:
    """``[batch, channels x places, patches]`` to ``[batch, channels, ...]``."""
    op.seal(op.shadow("self").off((-2,)), "mixes this axis")
    channels, out = op.line("self", -2), op.outputs[0]
    if channels is None:
        op.give()
        return
    whole = join_all(op, channels.reshape(out.shape[-3], -1), axis=1).ravel()
    op.give((axis_track(whole, out.ndim - 3, out.ndim),))


def _replay(op: Op, free_along_moved: bool) -> None:
    """Run the op on each track in place of the tensor, and seal axes it moves unless free."""
    tensor = op.arg("self")
    tracks: list[Ids] = []
    for track in op.shadow("self").tracks:
        moved = squash(op.rerun(_full(track, tensor.shape)))
        if not free_along_moved and not _same_ids(track, moved):
            op.seal([track], "moves single channels")
        else:
            tracks.append(settle(op, moved))
    op.give(tuple(tracks))


def _full(track: Ids, shape: torch.Size) -> torch.Tensor:
    return torch.from_numpy(track.copy()).expand(shape)


def _same_ids(before: Ids, after: Ids) -> bool:
    return np.array_equal(before.ravel(), after.ravel())
