"""Convolutions: dense, grouped, depthwise, transposed."""

from autoprune.surgery.ids import Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.contraction import contract
from autoprune.surgery.rules.grouping import join_groups, whole_groups
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import Unruled, axis_track


@rule("aten.convolution")
def convolution(op: Op) -> None:
    """``[batch, channels, ...]``; spatial axes are mixed, channels made anew or group by group."""
    spatial = range(2, op.arg("weight").ndim)
    op.seal(op.shadow("input").on(spatial), "mixes this axis")
    op.seal(op.shadow("weight").on(spatial), "mixes this axis")
    if op.shadow("input").along(0) is not None:
        raise Unruled("the batch axis carries channels")
    if op.arg("groups") == 1:
        out = _dense(op)
    elif op.arg("transposed"):
        out = _depthwise_transposed(op)
    elif whole_groups(op.arg("groups"), op.arg("weight").shape[1]):
        out = _by_whole_groups(op)
    else:
        out = _by_places(op)
    if op.arg("bias") is not None and op.arg("bias").numel() > 1:
        out = op.join(out, op.line("bias", 0))
    op.give(() if out is None else (axis_track(out, 1, op.outputs[0].ndim),))


def _dense(op: Op) -> Ids | None:
    made, read = (1, 0) if op.arg("transposed") else (0, 1)
    joined = contract(op, "weight", read, "input", 1)
    out = op.line("weight", made)
    op.cost(out, joined)
    return out


def _by_whole_groups(op: Op) -> Ids | None:
    """A group's inputs and outputs go together; depthwise convolution is one channel a group."""
    groups, out, channels = op.arg("groups"), op.line("weight", 0), op.line("input", 1)
    op.seal(op.shadow("weight").on((1,)), "has its groups removed whole")
    if out is None and channels is not None and _one_kernel_for_all(op):
        return channels
    if out is None or channels is None:
        return op.join(out, channels)
    join_groups(op, channels, groups)
    for place in range(len(out) // groups):
        op.join(out.reshape(groups, -1)[:, place], channels.reshape(groups, -1)[:, 0])
    op.cost(out)
    return out


def _one_kernel_for_all(op: Op) -> bool:
    """Tell whether one kernel was expanded to as many channels as there are."""
    weight = op.arg("weight")
    return bool(weight.stride(0) == 0 and weight.shape[0] == op.arg("groups"))


def _by_places(op: Op) -> Ids | None:
    """The same input places go in every group, and the same output places."""
    groups, out, channels = op.arg("groups"), op.line("weight", 0), op.line("input", 1)
    read = op.line("weight", 1)
    if out is None or channels is None or read is None or len(out) == groups:
        raise Unruled("groups of which nothing can go")
    op.ids.consume(read)
    for part in channels.reshape(groups, -1):
        op.join(read, part)
    for part in out.reshape(groups, -1):
        op.join(out.reshape(groups, -1)[0], part)
    op.cost(out, read)
    return out


def _depthwise_transposed(op: Op) -> Ids | None:
    if op.arg("weight").shape[1] > 1:
        raise Unruled("grouped transposed convolution")
    out = op.join(op.line("weight", 0), op.line("input", 1))
    op.cost(out)
    return out
