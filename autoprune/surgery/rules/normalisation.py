"""Normalisations: per channel, over all channels, or over groups of them."""

from autoprune.surgery.ids import Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.grouping import join_groups
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import axis_track


@rule(
    "aten._native_batch_norm_legit_no_training",
    "aten._native_batch_norm_legit",
    "aten.native_batch_norm",
    "aten.cudnn_batch_norm",
    "aten.miopen_batch_norm",
)
def batch_norm(op: Op) -> None:
    """Every vector of the norm is joined with the channel axis."""
    _vectors(op, "weight", "bias", "running_mean", "running_var")
    op.give(op.shadow("input").on((1,)))


@rule("aten.native_group_norm")
def group_norm(op: Op) -> None:
    """Groups stay equal; each normalises over the channels that are left in it."""
    channels, groups = op.line("input", 1), op.arg("group")
    means: tuple[Ids, ...] = ()
    if channels is not None and groups > 1:
        join_groups(op, channels, groups)
        means = (axis_track(channels.reshape(groups, -1)[:, 0], 1, 2),)
    _vectors(op, "weight", "bias")
    op.give(op.shadow("input").on((1,)), means, means)


@rule("aten.native_layer_norm")
def layer_norm(op: Op) -> None:
    """Normalises over what is left of the last axes; earlier axes pass."""
    first = op.arg("input").ndim - len(op.arg("normalized_shape"))
    for axis in range(first, op.arg("input").ndim):
        for vector in ("weight", "bias"):
            if op.has(vector) and op.arg(vector) is not None:
                own = op.line(vector, axis - first)
                channels = op.line("input", axis)
                if own is not None or channels is not None:
                    op.join(own, channels)
    op.give(op.shadow("input").tracks)


def _vectors(op: Op, *names: str) -> None:
    """Join one-dimensional arguments with the channel axis, and seal what is averaged over."""
    channels = op.line("input", 1)
    for name in names:
        vector = op.arg(name)
        if vector is not None and vector.numel() > 1:
            op.join(channels, op.line(name, 0))
    others = [axis for axis in range(op.arg("input").ndim) if axis != 1]
    op.seal(op.shadow("input").on(others), "is averaged")
