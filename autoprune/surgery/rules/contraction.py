"""Matrix products: what is summed over must be removed on both sides."""

from collections.abc import Iterator

from autoprune.surgery.ids import Ids
from autoprune.surgery.op import Op
from autoprune.surgery.rules.table import rule
from autoprune.surgery.shadow import Unruled, axis_track


@rule("aten.addmm", "aten.mm")
def matmul(op: Op) -> None:
    """``[rows, k] x [k, columns]``: rows and columns pass, ``k`` is consumed."""
    left, right = ("mat1", "mat2") if op.has("mat1") else ("self", "mat2")
    joined = contract(op, right, 0, left, 1)
    rows, columns = op.line(left, 0), op.line(right, 1)
    op.cost(rows, joined, columns)
    _give(op, *_plus(op, rows, columns))


@rule("aten.baddbmm", "aten.bmm")
def batched_matmul(op: Op) -> None:
    """``[batch, rows, k] x [batch, k, columns]``; the batch axis may carry heads."""
    left, right = ("batch1", "batch2") if op.has("batch1") else ("self", "mat2")
    joined = contract(op, right, 1, left, 2)
    batch = _heads(op, meet(op, op.line(left, 0), op.line(right, 0)))
    rows, columns = op.line(left, 1), op.line(right, 2)
    op.cost(batch, rows, joined, columns)
    _give(op, *_plus(op, batch, rows, columns))


def _plus(op: Op, *lines: Ids | None) -> Iterator[Ids | None]:
    """Join the lines of a product with those of ``self``, where that is added and not repeated."""
    shape = op.arg("self").shape if op.has("beta") else ()
    for axis, ids in zip(range(-len(lines), 0), lines, strict=True):
        meets = -axis <= len(shape) and shape[axis] > 1
        yield meet(op, ids, op.line("self", axis)) if meets else ids


@rule(
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
)
def attention(op: Op) -> None:
    """``[batch, heads, tokens, width]``: queries meet keys; heads and the values' width pass."""
    if len({op.arg(name).shape[1] for name in ("query", "key", "value")}) > 1:
        raise Unruled("has queries that share keys or values")
    for name in ("query", "key", "value"):
        op.seal(op.shadow(name).on((0, 2)), "mixes this axis")
    queries, values = op.arg("query").shape[3], op.arg("value").shape[3]
    width = contract(op, "key", 3, "query", 3)
    heads = meet(op, op.line("query", 1), op.line("key", 1))
    heads = _heads(op, meet(op, heads, op.line("value", 1)))
    for name in ("attn_mask", "attn_bias"):
        mask = op.arg(name) if op.has(name) else None
        if mask is not None:
            op.seal(op.shadow(name).on((-1, -2)), "mixes this axis")
            if mask.ndim > 2 and mask.shape[-3] > 1:
                heads = meet(op, heads, op.line(name, -3))
    op.cost(heads, width, share=queries)
    op.cost(heads, op.line("value", 3), share=values)
    _give(op, None, heads, None, op.line("value", 3))


def contract(op: Op, right: str, at: int, left: str, axis: int) -> Ids | None:
    """Join both sides of a sum of products; a side made of weights only is noted as a reader."""
    sides = {right: op.line(right, at), left: op.line(left, axis)}
    for name, ids in sides.items():
        if ids is not None and not op.shadow(name).from_input:
            op.ids.consume(ids)
            break
    return op.join(sides[right], sides[left])


def meet(op: Op, left: Ids | None, right: Ids | None) -> Ids | None:
    """Join the lines of two operands along an axis both have; None if neither has ids."""
    return None if left is None and right is None else op.join(left, right)


def _heads(op: Op, ids: Ids | None) -> Ids | None:
    """Note ids along a batch axis of a product: what shares one is an attention head."""
    if ids is not None:
        op.record.heads.append(ids.ravel())
    return ids


def _give(op: Op, *lines: Ids | None) -> None:
    """Give the first output one track per axis that has ids."""
    known = [(at, ids) for at, ids in enumerate(lines) if ids is not None]
    op.give(tuple(axis_track(ids, at, len(lines)) for at, ids in known))
