"""A model as an exported program: any batch size, batch norms folded."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from autoprune.formats.fold import BatchNorms, count_batch_norms, fold_batch_norms
from autoprune.formats.suppression import without_branches
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, listed, map_tensors, one_of


class Program(NamedTuple):
    """What is written into a file, what became of its batch norms, and the program before that."""

    exported: ExportedProgram
    batch_norms: BatchNorms
    unfolded: fx.GraphModule


def capture(model: nn.Module, inputs: Inputs) -> Program:
    """Return the model in eval mode as a program whose batch size is free; it stays as it is.

    Of a model that takes a list of images, a detector, the program takes one of their size.

    Args:
        model: A model on the CPU.
        inputs: Positional arguments of one forward, or keyword arguments; at least 2 samples.

    Raises:
        Exception: Whatever PyTorch raises for what it cannot export.
    """
    inputs = one_of(inputs)
    with evaluating(model), torch.no_grad(), without_branches():
        exported = _export(model, inputs)
    unfolded, graph = exported.module(), exported.module()
    before = count_batch_norms(graph)
    if fold_batch_norms(graph):
        with torch.no_grad():
            exported = _export(graph, inputs)
    for part in exported.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths and code of the machine it was made on
            node.meta.pop("from_node", None)  # addresses in memory: no two files were the same
    after = count_batch_norms(exported.graph_module)
    return Program(exported, BatchNorms(before, after), unfolded)


def _export(model: nn.Module, inputs: Inputs) -> ExportedProgram:
    shapes = None
    if listed(inputs) is None:
        shapes = _free_batch(inputs if isinstance(inputs, Mapping) else tuple(inputs))
    args: tuple[Any, ...] = () if isinstance(inputs, Mapping) else tuple(inputs)
    kwargs = dict(inputs) if isinstance(inputs, Mapping) else None
    try:
        return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception:  # what tracing cannot follow, reading the bytecode sometimes can
        try:
            return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=True)
        except Exception:
            pass
        raise


def _free_batch(inputs: Any) -> Any:
    """Return the dimensions that are free, in the form of ``inputs``: the first of each tensor."""
    return map_tensors(lambda _: {0: torch.export.Dim.DYNAMIC}, inputs)  # type: ignore[arg-type, return-value]


def first_line(err: Exception) -> str:
    """Return type and first line of an exporter's error, whose further lines are about itself."""
    lines = str(err).strip().splitlines()
    return f"{type(err).__name__}: {lines[0] if lines else 'no reason given'}."
