"""Convolutions and matrix products: input channels meet the weight's input side."""

from autoprune.surgery.ids import Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import Shadow, Unruled, axis_track


@rule("aten.convolution")
def convolution(op: Op) -> None:
    """Dense and depthwise convolution; others are not covered yet."""
    groups, weight = op.arg("groups"), op.arg("weight")
    if op.arg("transposed"):
        raise Unruled("transposed convolution")
    channels = op.arg("input").shape[1]
    depthwise = groups > 1 and groups == channels == weight.shape[0]
    if groups > 1 and not depthwise:
        raise Unruled("grouped convolution")
    op.seal(op.shadow("input").on(range(2, op.arg("input").ndim)), "mixes this axis")
    op.seal(op.shadow("weight").on(range(2, weight.ndim)), "mixes this axis")
    out = op.line("weight", 0)
    if depthwise:
        out = op.join(out, op.line("input", 1))
        op.factors = _known(out)
    else:
        read = contract(op, op.shadow("weight"), op.line("weight", 1), op.line("input", 1))
        op.factors = _known(out, read)
    if op.arg("bias") is not None:
        out = op.join(out, op.line("bias", 0))
    ndim = op.outputs[0].ndim
    batch = op.shadow("input").along(0)
    if batch is not None:
        raise Unruled("the batch axis carries channels")
    op.give(() if out is None else (axis_track(out, 1, ndim),))


@rule("aten.addmm", "aten.mm")
def matmul(op: Op) -> None:
    """``[rows, k] x [k, columns]``: rows and columns pass, ``k`` is consumed."""
    left, right = ("mat1", "mat2") if op.name == "aten.addmm" else ("self", "mat2")
    weight = right if not op.shadow(right).from_input else left
    data = left if weight == right else right
    axis = {left: 1, right: 0}
    read = contract(
        op, op.shadow(weight), op.line(weight, axis[weight]), op.line(data, axis[data])
    )
    rows, columns = op.line(left, 0), op.line(right, 1)
    op.factors = _known(rows, read, columns)
    if op.name == "aten.addmm" and columns is not None and op.arg("self").shape[-1] > 1:
        columns = op.join(columns, op.line("self", -1))
    tracks = [axis_track(ids, at, 2) for at, ids in ((0, rows), (1, columns)) if ids is not None]
    op.give(tuple(tracks))


def contract(op: Op, weight: Shadow, reader: Ids | None, data: Ids | None) -> Ids | None:
    """Join the weight's input side with the channels it reads, and note who reads.

    Raises:
        Unruled: If both sides are activations.
    """
    if weight.from_input:
        raise Unruled("product of two activations")
    if reader is not None:
        op.ids.consume(reader)
    return op.join(reader, data)


def _known(*lines: Ids | None) -> tuple[Ids, ...]:
    return tuple(ids for ids in lines if ids is not None)
