"""Multiply-adds of the ops that a forward runs, as far as somebody counts them."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from autoprune.surgery.op import MacTerm, Op

# Ops that multiply and add, but that PyTorch has no formula for.
_UNCOUNTED = (
    *("aten.mkldnn_rnn", "aten.lstm", "aten.gru", "aten.rnn", "aten._thnn", "aten._cudnn_rnn"),
    *("aten._fft", "aten.fft", "aten.cdist", "aten._cdist", "aten._trilinear", "aten._linalg"),
    *("aten.linalg_inv", "aten.linalg_lu", "aten.linalg_qr", "aten.linalg_eigh"),
    "torchvision.deform_conv2d",
)
# What PyTorch could count but does not: attention on the CPU, and products with vectors.
_FORMULAS: dict[str, Callable[..., int]] = {
    "aten._scaled_dot_product_flash_attention_for_cpu": flop_registry[
        torch.ops.aten._scaled_dot_product_flash_attention
    ],
    "aten.mv": lambda matrix, vector, **_: 2 * matrix.numel(),
    "aten.addmv": lambda start, matrix, vector, **_: 2 * matrix.numel(),
    "aten.dot": lambda left, right, **_: 2 * left.numel(),
}
_KNOWN = {"aten", "prim", "prims", "torchvision", "profiler"}


def note_macs(op: Op, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Note the multiply-adds of an op that was run, in the parts that its rule told.

    Args:
        op: The op as its rule saw it.
        func: The overload that was run.
        args: Its arguments.
        kwargs: Its arguments by name.
        out: What it gave.
    """
    macs = macs_of(func, args, kwargs, out)
    if macs is None:
        known = func.namespace in _KNOWN and _formula(func) is None
        if op.name.startswith(_UNCOUNTED) or not known:
            op.record.uncounted.add(op.name)
        return
    whole = sum(share for share, _ in op.parts) or 1
    module, weight = op.record.module, op.weight
    operands, settings = op.operands(), op.settings
    terms = []
    for share, factors in op.parts or [(1, ())]:
        part = macs * share // whole
        terms.append(MacTerm(op.name, part, factors, module, weight, operands, settings))
        operands = ()
    op.record.terms.append(tuple(terms))


def macs_of(func: Any, args: Any, kwargs: Any, out: Any) -> int | None:
    """Return the multiply-adds of an op that was run, None if nobody has a formula for it."""
    formula = _formula(func)
    try:
        return None if formula is None else int(formula(*args, **kwargs, out_val=out)) // 2
    except AssertionError:
        if "attention" not in str(func):
            raise
        return None  # earlier formulas of PyTorch's know no queries that share keys


def _formula(func: Any) -> Callable[..., int] | None:
    return flop_registry.get(func.overloadpacket) or _FORMULAS.get(str(func.overloadpacket))
