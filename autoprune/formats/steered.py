"""An ONNX file that is run with its choices steered; see `autoprune.formats.choices`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind, OutputSpec, TensorArgument
from torch.utils._pytree import tree_structure

from autoprune.formats.choices import Run, choices_of
from autoprune.formats.session import run_session
from autoprune.surgery.nested import Inputs, tensors_in

_GIVEN = "autoprune.given."


def add_choices(program: ExportedProgram) -> int:
    """Make what a program chooses by outputs of it, after its own, and return how many it is."""
    nodes, last = choices_of(program.graph), program.graph.output_node()
    kind = OutputKind.USER_OUTPUT
    specs = [OutputSpec(kind, TensorArgument(node.name), None) for node in nodes]
    if nodes:
        last.args = ((*last.args[0], *nodes),)
        program.graph_signature.output_specs.extend(specs)
        flat = tree_structure([0] * len(last.args[0]))
        program.module_call_graph[0].signature.out_spec = flat
    return len(nodes)


def take_choices(proto: Any, count: int) -> tuple[str, ...]:
    """Take the last ``count`` outputs out of an ONNX model, and return their names.

    What computes them stays, and what type they have.
    """
    graph = proto.graph
    taken = list(graph.output)[len(graph.output) - count :]
    del graph.output[len(graph.output) - count :]
    # What is an output twice has a second name, which nothing else reads.
    aliases = {node.output[0]: node for node in graph.node if node.op_type == "Identity"}
    for info in taken:
        while info.name in aliases:
            node = aliases.pop(info.name)
            graph.node.remove(node)
            info.name = node.input[0]
    known = {info.name for info in (*graph.output, *graph.value_info)}
    graph.value_info.extend(info for info in taken if info.name not in known)
    return tuple(info.name for info in taken)


def run_steered(
    path: Path, names: Sequence[str], inputs: Inputs, given: Sequence[torch.Tensor]
) -> Run:
    """Run an ONNX file, what it chooses by being replaced wherever it is read.

    Args:
        path: The file.
        names: Of what it chooses by, from `take_choices`.
        inputs: Arguments of one forward.
        given: What it has to choose by, in their order.
    """
    proto = onnx.load(path)
    own = len(proto.graph.output)
    once = dict(zip(names, given, strict=True))  # steps that are alike were made one
    _steer(proto.graph, list(once))
    values = [*tensors_in(inputs), *once.values()]
    found = run_session(proto.SerializeToString(), values)
    by_name = dict(zip((entry.name for entry in proto.graph.output), found, strict=True))
    return Run([by_name[name] for name in names], found[:own])


def _steer(graph: Any, names: Sequence[str]) -> None:
    outputs = {info.name for info in graph.output}
    types = {info.name: info.type.tensor_type for info in (*graph.output, *graph.value_info)}
    for node in _nodes(graph):
        renamed = [_GIVEN + name if name in names else name for name in node.input]
        node.input[:] = renamed
    for name in names:
        kind = types[name].elem_type
        if name not in outputs:
            graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
        graph.input.append(onnx.helper.make_tensor_value_info(_GIVEN + name, kind, None))


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of those inside it, which read its values by name."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for part in (attribute.g, *attribute.graphs):
                yield from _nodes(part)
