"""Element-wise ops join the ids of their operands entry by entry."""

import numpy as np
import torch

from autoprune.surgery.ids import Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import lift, varying


@rule(
    "aten.alias",
    "aten.clone",
    "aten.copy_",
    "aten.detach",
    "aten.hardtanh",
    "aten.hardtanh_",
    "aten._to_copy",
    "aten.lift_fresh",
    "aten.hardswish",
    "aten.hardswish_",
    "aten.hardsigmoid_",
    "aten.leaky_relu",
    "aten.leaky_relu_",
    "aten.celu_",
    "aten.elu_",
    "aten.selu_",
    "aten.fill_",
    "aten.prelu",
    "aten.zeros_like",
    "aten.ones_like",
    "aten.empty_like",
    "aten.full_like",
    "aten._prelu_kernel",
    "aten.masked_fill",
    "aten.where",
)
def elementwise(op: Op) -> None:
    """Join tracks that meet; a track that meets a full-size operand without one is sealed."""
    shape = op.outputs[0].shape
    merged: list[Ids] = []
    for tensor in op.tensors():
        for track in op.record.shadow(tensor).tracks:
            join_tracks(op, merged, lift(track, len(shape)))
    for tensor in op.tensors():
        seal_unmatched(op, merged, tensor)
    op.give(tuple(merged))


def join_tracks(op: Op, merged: list[Ids], track: Ids) -> None:
    """Join ``track`` with those of ``merged`` it shares an axis with, and add the union."""
    for other in [known for known in merged if varying(known) & varying(track)]:
        left, right = np.broadcast_arrays(other, track)
        op.ids.join(left, right, f"{op.name}: meets channels without an id")
        track = np.maximum(left, right)
        merged[:] = [known for known in merged if known is not other]
    merged.append(track)


def seal_unmatched(op: Op, merged: list[Ids], tensor: torch.Tensor) -> None:
    """Seal and drop each track along an axis on which ``tensor`` has full size but no ids.

    An axis that was expanded (stride 0) does not vary: it counts as one of size 1.
    """
    ndim = op.outputs[0].ndim
    own_shape = (
        1 if stride == 0 else size
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    shape = (1,) * (ndim - tensor.ndim) + tuple(own_shape)
    own = [varying(lift(t, ndim)) for t in op.record.shadow(tensor).tracks]
    covered = frozenset().union(*own)
    fixed = [
        track
        for track in merged
        if any(shape[axis] > 1 and axis not in covered for axis in varying(track))
    ]
    op.seal(fixed, "meets a tensor whose size is fixed")
    merged[:] = [track for track in merged if not any(track is known for known in fixed)]


@rule("aten.new_zeros", "aten.new_ones", "aten.new_empty", "aten.new_full")
def fresh(op: Op) -> None:
    """A new constant takes only type and device from its argument."""
    op.give()
