"""Normalisations with one affine and one statistic per channel."""

from autoprune.surgery.op import Op
from autoprune.surgery.rules.table import rule


@rule(
    "aten._native_batch_norm_legit_no_training",
    "aten._native_batch_norm_legit",
    "aten.native_batch_norm",
    "aten.cudnn_batch_norm",
)
def batch_norm(op: Op) -> None:
    """Every vector of the norm is joined with the channel axis."""
    track = op.shadow("input").along(1)
    channels = op.line("input", 1)
    for vector in ("weight", "bias", "running_mean", "running_var"):
        if op.arg(vector) is not None and op.arg(vector).numel() > 1:
            op.join(channels, op.line(vector, 0))
    op.seal([t for t in op.shadow("input").tracks if t is not track], "is averaged")
    op.give(() if track is None else (track,))
