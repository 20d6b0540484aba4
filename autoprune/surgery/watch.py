"""Hooks that tell a record which module is running, and what goes in and out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from autoprune.surgery.nested import tensors_in
from autoprune.surgery.op import Record


@contextmanager
def watched(model: nn.Module, record: Record) -> Iterator[None]:
    """Watch every module of ``model`` while the context is open."""
    watchers = [_Watcher(name, module, record) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.remove()


Place = tuple[int, torch.Size, int]  # node, shape, piece of memory


class _Watcher:
    def __init__(self, name: str, module: nn.Module, record: Record) -> None:
        self._name, self._record = name, record
        self._entries: list[Place | None] = []
        self._is_layer = bool(not any(module.children()) and [*module.parameters()])
        self._handles = [
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave),
        ]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        self._record.modules.append(self._name)
        first = args[0] if args else None
        self._entries.append(self._place(first))

    def _leave(self, _: nn.Module, __: Any, out: Any) -> None:
        self._record.modules.pop()
        entered, left = self._entries.pop(), self._place(out)
        same = entered is not None and left is not None and entered[1] == left[1]
        ends = (entered[0], left[0]) if same and entered and left else (None, None)
        self._record.flow.call(self._name, *ends)
        if entered and left:
            self._record.activations.call(self._name, entered[2], left[2])
        if self._is_layer:
            tracks = [t for x in tensors_in(out) for t in self._record.shadow(x).tracks]
            self._record.made.setdefault(self._name, []).extend(t.ravel() for t in tracks)

    def _place(self, value: Any) -> Place | None:
        if not isinstance(value, torch.Tensor):
            return None
        return self._record.flow.node(value), value.shape, self._record.activations.number(value)
