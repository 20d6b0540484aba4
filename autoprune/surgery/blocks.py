"""Residual blocks: modules that pass their input on and add something to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from autoprune.surgery.units import Unit, inside

_ADDS = {"aten.add", "aten.add_"}
_PASSES = _ADDS | {"aten.alias", "aten.clone", "aten.detach", "aten.relu", "aten.relu_"}


class PassThrough(nn.Module):
    """Stands where a residual block was: returns its first input."""

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return ``x`` as it is."""
        return x


@dataclass(slots=True)
class Call:
    """One call of a module with one tensor in, and one of the same shape out."""

    module: str
    entered: int
    left: int


@dataclass(slots=True)
class Flow:
    """How values flow along skip connections, noted while tracing.

    Each version of a tensor is a node; in-place ops make a new version.
    """

    nodes: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    sources: dict[int, tuple[tuple[int, ...], bool]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def node(self, tensor: torch.Tensor) -> int:
        """Return the node of a tensor's present version."""
        if tensor not in self.nodes:
            self.renew(tensor)
        number: int = self.nodes[tensor]
        return number

    def renew(self, tensor: torch.Tensor) -> int:
        """Give a tensor a new node and return it."""
        self.last += 1
        self.nodes[tensor] = self.last
        return self.last

    def step(self, op: str, before: Sequence[int], outputs: Iterable[torch.Tensor]) -> None:
        """Note an executed op that read the activations ``before``."""
        for output in outputs:
            made = self.renew(output)
            if op in _PASSES:
                self.sources[made] = (tuple(before), op in _ADDS and len(before) > 1)

    def call(self, module: str, entered: int | None, left: int | None) -> None:
        """Note a call; None where there is not one tensor, or its shape changed."""
        self.counts[module] = self.counts.get(module, 0) + 1
        if entered is not None and left is not None:
            self.calls.append(Call(module, entered, left))

    def adds_to_input(self, call: Call) -> bool:
        """Tell whether a chain of additions leads from the call's input to its output."""
        stack, seen = [(call.left, False)], set[tuple[int, bool]]()
        while stack:
            state = stack.pop()
            node, added = state
            if node == call.entered:
                if added:
                    return True
                continue
            if state in seen or node not in self.sources:
                continue
            seen.add(state)
            before, adds = self.sources[node]
            stack.extend((source, added or adds) for source in before)
        return False


def block_units(flow: Flow, model: nn.Module) -> list[Unit]:
    """Return the innermost modules that add to their input, each a unit with one atom.

    A module that is called more than once, or shares a tensor with another, is none.
    """
    names: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(name)
    able = [
        call.module
        for call in flow.calls
        if call.module and flow.counts[call.module] == 1 and flow.adds_to_input(call)
    ]
    able = [module for module in able if _owns_alone(module, names.values())]
    return [
        Unit(f"{module}:block", 1, kind="block", members=(module,))
        for module in able
        if not any(other != module and inside(other, module) for other in able)
    ]


def _owns_alone(module: str, tied: Iterable[Sequence[str]]) -> bool:
    """Tell whether the module has parameters and none of them is also outside."""
    inner = [[inside(name, module) for name in names] for names in tied]
    return any(map(any, inner)) and all(all(own) for own in inner if any(own))
