"""Where a program chooses by its numbers: thresholds, top-k, suppression of boxes, rounding.

Two sound copies of a model differ in the last bits of their numbers, and where two scores are next
to equal these decide which one is taken: outputs then differ by whole boxes. To compare copies all
the same, each choice of one is made on the numbers of the other, and these numbers are compared.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from autoprune.surgery.nested import Inputs, tensors_in

_ATEN = torch.ops.aten
_ASSERTS = {_ATEN._assert_scalar.default, _ATEN._assert_async.msg}
_WHOLE = {_ATEN.floor.default, _ATEN.ceil.default, _ATEN.round.default, _ATEN.trunc.default}


def choices_of(graph: fx.Graph) -> list[fx.Node]:
    """Return the floats that a program chooses by, in order.

    They are what a step turns into integers or booleans, or rounds to whole numbers.

    Args:
        graph: That of an exported program, whose nodes know their values' types.
    """
    steps = [node for node in graph.nodes if node.op == "call_function" and _chooses(node)]
    read = {node for step in steps for node in step.all_input_nodes if _is_float(node)}
    return [node for node in graph.nodes if node in read]


def _chooses(step: fx.Node) -> bool:
    made = [x for x in tensors_in(step.meta.get("val")) if not x.is_floating_point()]
    return bool(made) or step.target in _WHOLE


def _is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    made = node.op == "call_function"  # neither an input nor a weight
    return made and isinstance(value, Tensor) and value.is_floating_point()


class Run(NamedTuple):
    """What a program chose by, in the order of `choices_of`, and what it gave."""

    chosen_by: list[Tensor]
    outputs: list[Tensor]


def run_program(
    program: fx.GraphModule,
    inputs: Inputs,
    given: Sequence[Tensor] | None = None,
    ordered: bool = True,
) -> Run:
    """Run a program and keep what it chose by.

    What it assumes about sizes, such as that there is a box, is not looked at: files do not.

    Args:
        program: What ``ExportedProgram.module()`` returned.
        inputs: Arguments of one forward.
        given: What to choose by in place of its own numbers, as many; None for these.
        ordered: Whether of equal numbers the first is taken, as ONNX has it; PyTorch takes any.
    """
    chooser = _Chooser(program, given, ordered)
    with torch.no_grad():
        outputs = chooser.run(*tensors_in(inputs), enable_io_processing=False)
    return Run(chooser.chosen_by, list(tensors_in(outputs)))


class _Chooser(fx.Interpreter):
    def __init__(
        self, program: fx.GraphModule, given: Sequence[Tensor] | None, ordered: bool
    ) -> None:
        super().__init__(program)
        self._by = {node: number for number, node in enumerate(choices_of(program.graph))}
        self._given, self._ordered = given, ordered
        self.chosen_by: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n not in self._by:
            return value
        self.chosen_by.append(value)
        return value if self._given is None else self._given[self._by[n]]

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in _ASSERTS:
            return None
        if target is _ATEN.topk.default and self._ordered:
            return _topk(*args, **kwargs)
        return super().call_function(target, args, kwargs)


def _topk(
    x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    values, places = x.sort(dim=dim, descending=largest, stable=True)
    return values.narrow(dim, 0, k), places.narrow(dim, 0, k)
