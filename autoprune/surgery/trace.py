"""Real eager forwards that carry channel ids beside every tensor."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autoprune.surgery.accept import forward_error
from autoprune.surgery.activations import Activations
from autoprune.surgery.adapt import adapted
from autoprune.surgery.blocks import Flow
from autoprune.surgery.ids import Ids, IdTable
from autoprune.surgery.macs import note_macs
from autoprune.surgery.modes import evaluating, switched
from autoprune.surgery.nested import Inputs, call, fresh, tensors_in
from autoprune.surgery.op import Op, Record
from autoprune.surgery.rules import RULES
from autoprune.surgery.rules.elementwise import elementwise
from autoprune.surgery.shadow import Shadow, Unruled
from autoprune.surgery.tensors import copied, state_tensors
from autoprune.surgery.watch import watched

# What these return has a size that depends on the values in their arguments.
_BY_VALUE = {
    "aten.masked_select",
    "aten.nonzero",
    "aten.unique_consecutive",
    "aten._unique2",
    "torchvision.nms",
}
_KEPT = ("flow", "activations", "uncounted", "by_value", "branches", "axes")


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
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        active = [x for x in read if self.record.shadow(x).from_input]
        nodes = [self.record.flow.node(x) for x in active]
        self.record.activations.begin()
        out = self.run(func, args, kwargs)
        if read:
            op = Op(func, args, kwargs, out, self.record)
            _apply_rule(op, func)
            note_macs(op, func, args, kwargs, out)
            self.record.flow.step(op.name, nodes, op.outputs)
            self.record.random |= torch.Tag.nondeterministic_seeded in func.tags
            self.record.by_value |= op.name in _BY_VALUE or _by_mask(op)
            self.record.branches |= op.name == "aten._local_scalar_dense" and bool(nodes)
        self._hold(str(func.overloadpacket), out)
        return out

    def _hold(self, name: str, out: Any) -> None:
        record = self.record
        for tensor in tensors_in(out):
            record.activations.note(name, tensor, record.shadow(tensor), record.module)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one op; a mode that changes what ops see does it here."""
        return func(*args, **kwargs)


def _by_mask(op: Op) -> bool:
    """Tell whether an op picks what a mask says: there are as many of them as it holds."""
    indices = op.arg("indices") if op.name == "aten.index" else ()
    return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in indices)


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
        _give_up(op, carried, str(reason))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as err:  # a fault of ours is no fault of the user's forward
        _give_up(op, carried, f"its rule raised {type(err).__name__}: {err}")


def _give_up(op: Op, carried: Sequence[Ids], why: str) -> None:
    op.parts.clear()
    op.seal(carried, why)
    op.give()


def start_record(model: nn.Module, inputs: Inputs, rank: int = 0) -> Record:
    """Return a record that knows the model's parameters and buffers, and its inputs."""
    record = Record(IdTable(state_tensors(model)), rank)
    introduce(record, model, inputs)
    return record


def introduce(record: Record, model: nn.Module, inputs: Inputs) -> None:
    """Tell a record which tensors are the model's, by name, and which are inputs."""
    own = state_tensors(model)
    record.activations.leave_out(own.values())
    for name, tensor in own.items():
        record.shadows[tensor] = Shadow(_own_tracks(record.ids, name, tensor))
        if tensor.ndim > 1 and tensor.layout == torch.strided:
            record.weights[tensor.untyped_storage()._cdata] = name
    for tensor in tensors_in(inputs):
        record.shadows[tensor] = Shadow((), from_input=True)
        record.activations.note("input", tensor, Shadow(), "")


def trace(model: nn.Module, inputs: Inputs, rank: int = 0) -> Record:
    """Run one forward in eval mode without gradients and return what was met.

    The model's outputs are sealed: they keep their meaning. Where parameters stay unused, the
    modules around them are switched to training once more, on a copy, to open auxiliary heads.

    Args:
        model: The model; it is left as it is.
        inputs: Positional or keyword arguments of one forward.
        rank: Which of several competing axes channels are removed along; 0 is the freest.

    Raises:
        ModelError: If the forward raises.
    """
    model, inputs = adapted(model), fresh(inputs)
    record = start_record(model, inputs, rank)
    try:
        with evaluating(model):
            _run(model, inputs, record)
    except Exception as err:
        raise forward_error(err, inputs) from err
    _trace_training(model, inputs, record)
    return record


def _run(model: nn.Module, inputs: Inputs, record: Record) -> None:
    with watched(model, record), torch.no_grad(), TraceMode(record):
        out = call(model, inputs)
    record.activations.end()
    for tensor in tensors_in(out):
        for track in record.shadow(tensor).tracks:
            record.ids.seal(track, "is an output of the model")


def _trace_training(model: nn.Module, inputs: Inputs, record: Record) -> None:
    unused = _unused(model, record.ids)
    switches = _switches(model, unused)
    if not switches:
        return
    twin, inputs = copied(model), fresh(inputs)
    introduce(record, twin, inputs)
    with _set_aside(record), evaluating(twin), switched(twin, switches):
        lengths = len(record.ids.edges), len(record.ids.seals), len(record.ids.consumed)
        try:
            _run(twin, inputs, record)
            opened = not record.random and len(_unused(model, record.ids)) < len(unused)
        except Exception:  # a model may want targets when it trains
            opened = False
        if not opened:
            record.ids.truncate(*lengths)
    record.training = switches if opened else ()


def _unused(model: nn.Module, ids: IdTable) -> list[str]:
    met = ids.met()
    used = {s.tensor for s in ids.slots if met[s.start : s.start + s.size].any()}
    names = {name for name, _ in model.named_parameters()}
    return sorted({slot.tensor for slot in ids.slots} & names - used)


def _switches(model: nn.Module, unused: Sequence[str]) -> tuple[str, ...]:
    """Return the modules around unused parameters: their training flag may open a path."""
    paths = [name.split(".")[:-1] for name in unused]
    around = {".".join(path[:depth]) for path in paths for depth in range(len(path))}
    owners = {".".join(path) for path in paths}
    composed = {name for name in owners if any(model.get_submodule(name).children())}
    return tuple(sorted(around | composed))


@contextmanager
def _set_aside(record: Record) -> Iterator[None]:
    """Keep multiply-adds and skip connections of a second forward out of the record."""
    before = {name: getattr(record, name) for name in _KEPT}
    terms, record.flow, record.random = list(record.terms), Flow(), False
    record.activations, record.uncounted = Activations(), set()
    try:
        yield
    finally:
        record.terms = terms
        for name, value in before.items():
            setattr(record, name, value)


def _own_tracks(ids: IdTable, name: str, tensor: torch.Tensor) -> tuple[Ids, ...]:
    tracks = []
    for dim in range(tensor.ndim):
        own = ids.of(name, dim)
        if own is not None:
            shape = [tensor.shape[axis] if axis == dim else 1 for axis in range(tensor.ndim)]
            assert prod(shape) == own.size
            tracks.append(own.reshape(shape))
    return tuple(tracks)
