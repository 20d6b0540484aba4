"""Pooling and reductions keep the channels they do not mix."""

from math import prod

from autoprune.surgery.op import Op
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import reshape


@rule(
    "aten._adaptive_avg_pool2d",
    "aten.avg_pool2d",
    "aten.max_pool2d_with_indices",
    "aten.upsample_bilinear2d",
    "aten.upsample_nearest2d",
)
def pooling(op: Op) -> None:
    """Pooling and interpolation mix the last two axes only."""
    shadow = op.shadow("self")
    op.seal(shadow.on((-2, -1)), "mixes this axis")
    kept = shadow.off((-2, -1))
    op.give(*[kept for _ in op.outputs])


@rule("aten.sum", "aten.linalg_vector_norm")
def summation(op: Op) -> None:
    """A sum over channels reads each of them: zero is as good as gone."""
    _reduce(op, free=True)


@rule("aten.mean", "aten.amax", "aten.amin", "aten.var", "aten.var_mean", "aten.std")
def reduction(op: Op) -> None:
    """What depends on the number of channels, or on their least, changes with them: sealed."""
    _reduce(op, free=False)


def _reduce(op: Op, free: bool) -> None:
    tensor = op.arg("self")
    dims = (op.arg("dim") if op.has("dim") else None) or list(range(tensor.ndim))
    axes = {dim % tensor.ndim for dim in dims} if tensor.ndim else set()
    shadow = op.shadow("self")
    if not free:
        op.seal(shadow.on(axes), "mixes this axis")
    kept = [1 if axis in axes else size for axis, size in enumerate(tensor.shape)]
    out = op.outputs[0].shape
    assert prod(kept) == prod(out)
    tracks = tuple(reshape(track, kept, out) for track in shadow.off(axes))
    op.give(*[tracks for _ in op.outputs])


@rule("aten._softmax", "aten._log_softmax")
def softmax(op: Op) -> None:
    """Normalises along one axis, whose channels cannot be removed one by one."""
    axis = op.arg("dim") % op.arg("self").ndim
    op.seal(op.shadow("self").on((axis,)), "mixes this axis")
    op.give(op.shadow("self").off((axis,)))
