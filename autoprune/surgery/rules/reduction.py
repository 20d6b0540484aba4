"""Pooling and reductions keep the channels they do not mix; others run over what is left."""

import re
from math import prod

from autoprune.surgery.op import Op
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import Unruled, reshape


@rule(
    "aten._adaptive_avg_pool2d",
    "aten._adaptive_avg_pool3d",
    "aten.adaptive_max_pool2d",
    "aten.adaptive_max_pool3d",
    "aten.avg_pool2d",
    "aten.avg_pool3d",
    "aten.max_pool2d_with_indices",
    "aten.max_pool3d_with_indices",
    "aten.reflection_pad2d",
    "aten.replication_pad2d",
    "aten._upsample_bicubic2d_aa",
    "aten._upsample_bilinear2d_aa",
    "aten._upsample_nearest_exact2d",
    "aten.upsample_bicubic2d",
    "aten.upsample_bilinear2d",
    "aten.upsample_linear1d",
    "aten.upsample_nearest1d",
    "aten.upsample_nearest2d",
    "aten.upsample_nearest3d",
    "aten.upsample_trilinear3d",
)
def pooling(op: Op) -> None:
    """Pooling and interpolation mix the last axes only, as many as the op's name says."""
    found = re.search(r"(\d)d", op.name)
    assert found is not None
    shadow = op.shadow("self")
    mixed = range(-int(found[1]), 0)
    op.seal(shadow.on(mixed), "mixes this axis")
    kept = shadow.off(mixed)
    op.give(*[kept for _ in op.outputs])


@rule("aten.sum", "aten.linalg_vector_norm")
def summation(op: Op) -> None:
    """A sum over channels reads each of them: zero is as good as gone."""
    _reduce(op)


@rule("aten.mean", "aten.amax", "aten.amin", "aten.var", "aten.var_mean", "aten.std")
def reduction(op: Op) -> None:
    """Averages and extremes over channels are those of the channels that are left."""
    sizes = op.arg("self").shape
    lines = [op.line("self", axis) for axis in _axes(op) if sizes[axis] > 1]
    unbiased = op.has("correction") and op.arg("correction") != 0
    if unbiased and len(lines) == 1 and lines[0] is not None:
        raise Unruled("has no unbiased variance where one channel is left")
    _reduce(op)


def _axes(op: Op) -> set[int]:
    ndim = op.arg("self").ndim
    dims = (op.arg("dim") if op.has("dim") else None) or list(range(ndim))
    return {dim % ndim for dim in dims} if ndim else set()


def _reduce(op: Op) -> None:
    tensor, axes = op.arg("self"), _axes(op)
    kept = [1 if axis in axes else size for axis, size in enumerate(tensor.shape)]
    out = op.outputs[0].shape
    assert prod(kept) == prod(out)
    tracks = tuple(reshape(track, kept, out) for track in op.shadow("self").off(axes))
    op.give(*[tracks for _ in op.outputs])


@rule("aten._softmax", "aten._log_softmax")
def softmax(op: Op) -> None:
    """Normalises over the channels that are left along its axis."""
    op.line("self", op.arg("dim"))  # raises where they are spread over several axes
    op.give(op.shadow("self").tracks)
