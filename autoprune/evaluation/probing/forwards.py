"""Stand in for the forwards of single modules: to watch them, and to play back what they gave."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from autoprune.surgery.nested import fresh

Forward = Callable[..., Any]
Outputs = dict[str, list[Any]]  # by module, for each of its calls that is in no other one's
_PLAIN = (torch.Tensor, int, float, bool, str, type(None))
_NONE_LEFT = object()  # an output may be None


class Enough(BaseException):
    """Ends a forward of which the rest is not needed; no handler of a user's code stops it."""


class MismatchError(RuntimeError):
    """A module was not called as it was when its outputs were recorded."""


@contextmanager
def standing_in(
    model: nn.Module, made: Mapping[str, Callable[[Forward], Forward]]
) -> Iterator[None]:
    """Replace the forwards of modules, by name, by what is made of them, for a while.

    Only ``forward`` is replaced: weights, attributes, children and hooks stay what they are.

    Raises:
        MismatchError: If the model has no such module.
    """
    modules = dict(model.named_modules())
    if not made.keys() <= modules.keys():
        raise MismatchError(f"No module {', '.join(sorted(made.keys() - modules.keys()))}.")
    before: list[tuple[nn.Module, Forward | None]] = []
    try:
        for name, make in made.items():
            module = modules[name]
            before.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = make(module.forward)
        yield
    finally:
        for module, own in reversed(before):
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own


@contextmanager
def replayed(model: nn.Module, outputs: Outputs) -> Iterator[None]:
    """Let modules give recorded outputs, call by call, instead of running.

    Raises:
        MismatchError: If a module is called more or less often than it was.
    """
    left = {name: iter(own) for name, own in outputs.items()}
    with standing_in(model, {name: _player(name, left[name]) for name in outputs}):
        yield
        for name, rest in left.items():
            if next(rest, _NONE_LEFT) is not _NONE_LEFT:
                raise MismatchError(f"{name} was called less often than it was recorded.")


def _player(name: str, rest: Iterator[Any]) -> Callable[[Forward], Forward]:
    def make(_: Forward) -> Forward:
        def play(*_: Any, **__: Any) -> Any:
            try:
                return fresh(next(rest))  # what follows may change it in place
            except StopIteration:
                raise MismatchError(f"{name} was called more often than recorded.") from None

        return play

    return make


class Recorder:
    """Gathers the outputs of modules, but not of those called inside another one of them.

    Args:
        expected: Outputs to gather until the forward ends with `Enough`.
    """

    def __init__(self, expected: int) -> None:
        self.outputs: Outputs = {}
        self._left, self._inside = expected, False

    def make(self, name: str) -> Callable[[Forward], Forward]:
        """Return what makes a forward that records, from one."""

        def wrap(forward: Forward) -> Forward:
            def record(*args: Any, **kwargs: Any) -> Any:
                if self._inside:
                    return forward(*args, **kwargs)
                self._inside = True
                try:
                    out = forward(*args, **kwargs)
                finally:
                    self._inside = False
                self._keep(name, out)
                return out

            return record

        return wrap

    def _keep(self, name: str, out: Any) -> None:
        self.outputs.setdefault(name, []).append(fresh(out))
        self._left -= 1
        if self._left == 0:
            raise Enough


def plain(out: Any) -> bool:
    """Tell whether an output can be recorded: tensors, numbers and texts, however nested."""
    return all(isinstance(leaf, _PLAIN) for leaf in tree_leaves(out))
