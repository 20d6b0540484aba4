"""What one forward runs, in order: calls of modules, first uses of weights, multiply-adds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from autoprune.evaluation.probing.forwards import Forward, plain, standing_in
from autoprune.surgery.macs import macs_of
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, call, fresh, tensors_in

NEVER = -1


@dataclass(slots=True)
class Call:
    """One call of a module.

    Args:
        module: Its name.
        start: Time at which it began; each event of the forward takes one.
        end: Time at which it was over.
        before: Multiply-adds of the forward until it began, for the traced batch.
        macs: Its own, those of what it calls included.
        bytes: Memory of its outputs, for the traced batch.
        able: Whether its outputs can stand for it: plain values, that are no views of its inputs,
            which it leaves as they are.
    """

    module: str
    start: int
    end: int = NEVER
    before: int = 0
    macs: int = 0
    bytes: int = 0
    able: bool = True


@dataclass(frozen=True)
class Order:
    """The course of one forward of the dense model.

    Args:
        calls: Calls of modules, in the order in which they began.
        uses: Time of the first op that read a parameter or buffer, by name, aliases included.
        macs: Multiply-adds of the whole forward, for the traced batch.
    """

    calls: tuple[Call, ...]
    uses: dict[str, int]
    macs: int

    def first_use(self, tensors: Iterable[str]) -> int:
        """Return when the first of some tensors is read; 0, before everything, if none ever is."""
        return min((self.uses[name] for name in tensors if name in self.uses), default=0)

    def first_call(self, module: str) -> int:
        """Return when a module is called first, 0 if it is not."""
        return min((one.start for one in self.calls if one.module == module), default=0)

    def over(self, time: int) -> set[str]:
        """Return the modules all of whose calls are over at a time, at least one."""
        late = {one.module for one in self.calls if one.end > time}
        return {one.module for one in self.calls} - late

    def replaceable(self, time: int) -> list[Call]:
        """Return the calls that recorded outputs can stand for, so that all else starts at a time.

        None is inside another; all calls of their modules are over. What computes next to nothing
        runs again: that takes no longer than to copy what it gave.
        """
        unable = {one.module for one in self.calls if not one.able}
        modules = self.over(time) - unable - {""}
        modules &= {one.module for one in self.calls if one.macs}
        found: list[Call] = []
        for one in self.calls:
            if one.module in modules and not (found and one.start < found[-1].end):
                found.append(one)
        return found


def order_of(model: nn.Module, inputs: Inputs) -> Order:
    """Run one forward in eval mode and return its course."""
    seen = _Seen(model)
    watch = {name: seen.watch(name) for name, _ in model.named_modules()}
    inputs = fresh(inputs)
    with evaluating(model), torch.no_grad(), standing_in(model, watch), seen:
        call(model, inputs)
    return Order(tuple(seen.calls), seen.uses, seen.macs)


class _Seen(TorchDispatchMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.uses: dict[str, int] = {}
        self.time = self.macs = 0
        self._names: dict[int, list[str]] = {}
        named = [*model.named_parameters(remove_duplicate=False)]
        for name, tensor in [*named, *model.named_buffers(remove_duplicate=False)]:
            self._names.setdefault(_place(tensor), []).append(name)

    def watch(self, name: str) -> Callable[[Forward], Forward]:
        def wrap(forward: Forward) -> Forward:
            def run(*args: Any, **kwargs: Any) -> Any:
                given = [(x, x._version) for x in tensors_in((args, kwargs))]
                self.time += 1
                one = Call(name, self.time, before=self.macs)
                self.calls.append(one)
                out = forward(*args, **kwargs)
                self.time += 1
                one.end, one.macs = self.time, self.macs - one.before
                one.bytes = sum(x.nbytes for x in tensors_in(out))
                places = {_place(x) for x, _ in given}
                one.able = (
                    plain(out)
                    and all(x._version == version for x, version in given)
                    and not any(_place(x) in places for x in tensors_in(out))
                )
                return out

            return run

        return wrap

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one op; note when, what it reads, and its multiply-adds."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.time += 1
        for tensor in tensors_in((args, kwargs)):
            for name in self._names.get(_place(tensor), ()):
                self.uses.setdefault(name, self.time)
        self.macs += macs_of(func, args, kwargs, out) or 0
        return out


def _place(tensor: torch.Tensor) -> int:
    """Return what tells the memory of a tensor from that of others alive."""
    return int(tensor.untyped_storage()._cdata)
