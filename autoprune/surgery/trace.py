"""One real eager forward that carries channel ids beside every tensor."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from autoprune.errors import ModelError
from autoprune.surgery.adapt import adapted
from autoprune.surgery.ids import Ids, IdTable
from autoprune.surgery.modes import evaluating
from autoprune.surgery.op import MacTerm, Op, Record
from autoprune.surgery.rules import RULES
from autoprune.surgery.rules.elementwise import elementwise
from autoprune.surgery.shadow import Shadow, Unruled
from autoprune.surgery.tensors import state_tensors


class TraceMode(TorchDispatchMode):
    """Runs ops as they are and lets a rule update the record after each."""

    def __init__(self, record: Record) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.record = record

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one op, then its rule, then note what it computes."""
        kwargs = kwargs or {}
        out = self.run(func, args, kwargs)
        if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves((args, kwargs))):
            op = Op(func, args, kwargs, out, self.record)
            _apply_rule(op, func)
            _count(op, func, args, kwargs, out)
        return out

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one op; a mode that changes what ops see does it here."""
        return func(*args, **kwargs)


def _apply_rule(op: Op, func: Any) -> None:
    carried = [track for t in op.tensors() for track in op.record.shadow(t).tracks]
    rule = RULES.get(op.name)
    if rule is None and torch.Tag.pointwise in func.tags:
        rule = elementwise
    if not carried or not op.outputs or rule is None:
        op.seal(carried, "has no rule")
        op.give()
        return
    try:
        rule(op)
    except Unruled as reason:
        op.parts.clear()
        op.seal(carried, str(reason))
        op.give()


def _count(op: Op, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    formula = flop_registry.get(func.overloadpacket)
    if formula is not None:
        macs = formula(*args, **kwargs, out_val=out) // 2
        whole = sum(share for share, _ in op.parts) or 1
        for share, factors in op.parts or [(1, ())]:
            op.record.terms.append(MacTerm(op.name, macs * share // whole, factors))


def start_record(model: nn.Module, inputs: Sequence[Any]) -> Record:
    """Return a record that knows the model's parameters and buffers, and its inputs."""
    tensors = state_tensors(model)
    record = Record(IdTable(tensors))
    for name, tensor in tensors.items():
        record.shadows[tensor] = Shadow(_own_tracks(record.ids, name, tensor))
    for leaf in tree_leaves(list(inputs)):
        if isinstance(leaf, torch.Tensor):
            record.shadows[leaf] = Shadow((), from_input=True)
    return record


def trace(model: nn.Module, inputs: Sequence[Any]) -> Record:
    """Run ``model(*inputs)`` once in eval mode without gradients and return what was met.

    The model's outputs are sealed: they keep their meaning.

    Raises:
        ModelError: If the forward raises.
    """
    model = adapted(model)
    record = start_record(model, inputs)
    with evaluating(model), torch.no_grad(), TraceMode(record):
        try:
            out = model(*inputs)
        except Exception as err:
            raise ModelError(
                f"The model's forward raised {type(err).__name__}: {err} It was called with "
                f"{_describe(inputs)}. Check that the data yields what the model takes."
            ) from err
    for leaf in tree_leaves(out):
        if isinstance(leaf, torch.Tensor):
            for track in record.shadow(leaf).tracks:
                record.ids.seal(track, "is an output of the model")
    return record


def _own_tracks(ids: IdTable, name: str, tensor: torch.Tensor) -> tuple[Ids, ...]:
    tracks = []
    for dim in range(tensor.ndim):
        own = ids.of(name, dim)
        if own is not None:
            shape = [tensor.shape[axis] if axis == dim else 1 for axis in range(tensor.ndim)]
            assert prod(shape) == own.size
            tracks.append(own.reshape(shape))
    return tuple(tracks)


def _describe(inputs: Sequence[Any]) -> str:
    leaves: Mapping[int, Any] = dict(enumerate(tree_leaves(list(inputs))))
    shapes = [
        f"{tuple(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}"
        if isinstance(leaf, torch.Tensor)
        else type(leaf).__name__
        for leaf in leaves.values()
    ]
    return "inputs " + ", ".join(shapes) + "."
