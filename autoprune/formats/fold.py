"""Batch norms folded into the layer before them, in a graph that PyTorch exported.

Which layer runs directly before a batch norm, and who else reads it, is read off the graph, at the
level of ATen's ops. Names of modules say neither.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import fx, nn

_ATEN = torch.ops.aten
_BATCH_NORM = _ATEN.batch_norm.default
_CONVOLUTIONS = {
    *(_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv3d.default),
    *(_ATEN.conv1d.padding, _ATEN.conv2d.padding, _ATEN.conv3d.padding),
}
_TRANSPOSED = {
    *(_ATEN.conv_transpose1d.default, _ATEN.conv_transpose2d.input, _ATEN.conv_transpose3d.input),
}
_LINEAR = _ATEN.linear.default


class BatchNorms(NamedTuple):
    """How many batch norms a graph had before folding, and how many it has after."""

    before: int
    after: int


def count_batch_norms(graph: fx.GraphModule) -> int:
    """Return how many batch norms run in a graph and in the graphs inside it."""
    return sum(node.target is _BATCH_NORM for _, part in _graphs(graph) for node in part.nodes)


def fold_batch_norms(graph: fx.GraphModule) -> int:
    """Fold each batch norm that can be into the layer before it, and return how many were.

    The layer gets weights of its own: tensors that others share or that the model holds stay as
    they are. What nothing reads any more is taken out.

    Args:
        graph: What ``ExportedProgram.module()`` returned; it is changed.
    """
    foldable = [node for node in graph.graph.nodes if _is_foldable(graph, node)]
    for node in foldable:
        _fold(graph, node)
    if foldable:
        _drop_unread(graph)
        graph.recompile()
    return len(foldable)


def _is_foldable(graph: fx.GraphModule, norm: fx.Node) -> bool:
    if norm.target is not _BATCH_NORM:
        return False
    own = _arguments(norm)
    layer = own["input"]
    if own["training"] or layer.target not in {*_CONVOLUTIONS, *_TRANSPOSED, _LINEAR}:
        return False
    if len(layer.users) > 1 or own["running_mean"] is None or own["running_var"] is None:
        return False
    theirs = _arguments(layer)
    read = [own[name] for name in ("weight", "bias", "running_mean", "running_var")]
    read += [theirs["weight"], theirs["bias"]]
    if not all(node is None or _is_constant(node) for node in read):
        return False
    # A layer without a batch dimension, or a linear one over many places, has its channels in
    # another dimension than the one the batch norm works on.
    dims = 2 if layer.target is _LINEAR else _tensor(graph, theirs["weight"]).dim()
    return bool(layer.meta["val"].dim() == dims)


def _fold(graph: fx.GraphModule, norm: fx.Node) -> None:
    own = _arguments(norm)
    layer: fx.Node = own["input"]
    theirs = _arguments(layer)
    weight, bias = _tensor(graph, theirs["weight"]), _tensor(graph, theirs["bias"])
    scale, shift = _affine(graph, own)
    groups = theirs["groups"] if layer.target in _TRANSPOSED else None
    wide = bias.double() if bias is not None else torch.zeros_like(shift)
    folded = {
        "weight": _scaled(weight, scale, groups).to(weight.dtype),
        "bias": (wide * scale + shift).to(weight.dtype),
    }
    place = theirs["weight"].target.rpartition(".")[0]
    with graph.graph.inserting_before(layer):
        nodes = {name: _held(graph, place, layer, name, x) for name, x in folded.items()}
    layer.args = (layer.args[0], nodes["weight"], nodes["bias"], *layer.args[3:])
    layer.kwargs = {k: v for k, v in layer.kwargs.items() if k not in folded}
    norm.replace_all_uses_with(layer)
    graph.graph.erase_node(norm)


def _affine(graph: fx.GraphModule, own: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a batch norm in eval mode multiplies by and adds, each ``[channels]``."""
    mean = _tensor(graph, own["running_mean"]).double()
    scale = (_tensor(graph, own["running_var"]).double() + own["eps"]).rsqrt()
    if own["weight"] is not None:
        scale = scale * _tensor(graph, own["weight"])
    shift = -mean * scale
    if own["bias"] is not None:
        shift = shift + _tensor(graph, own["bias"])
    return scale, shift


def _scaled(weight: torch.Tensor, scale: torch.Tensor, groups: int | None) -> torch.Tensor:
    """Scale a layer's outputs; ``groups`` are those of a transposed convolution.

    Those hold ``[inputs, outputs / groups, ...]``, inputs of the same group in a row.
    """
    if groups is None:
        return weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))
    grouped: torch.Tensor = weight.double().unflatten(0, (groups, -1))
    return (grouped * scale.reshape(groups, 1, -1, *[1] * (weight.dim() - 2))).flatten(0, 1)


def _held(
    graph: fx.GraphModule, place: str, layer: fx.Node, name: str, tensor: torch.Tensor
) -> fx.Node:
    """Let the graph hold a tensor in the submodule ``place``, under a name nobody uses."""
    module, free = graph.get_submodule(place), name
    old = _arguments(layer)[name]
    mine = old is not None and old.target == f"{place}.{name}".lstrip(".")
    if not (mine and _readers(graph, old.target) == {layer}):
        number = 0
        while hasattr(module, free):
            number += 1
            free = f"{name}_folded_{number}"
    setattr(module, free, nn.Parameter(tensor, requires_grad=False))
    return graph.graph.get_attr(f"{place}.{free}".lstrip("."))


def _readers(graph: fx.GraphModule, target: str) -> set[fx.Node]:
    nodes = (node for node in graph.graph.nodes if node.op == "get_attr")
    return {user for node in nodes if node.target == target for user in node.users}


def _drop_unread(graph: fx.GraphModule) -> None:
    for node in list(graph.graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.graph.erase_node(node)
    read = {
        f"{name}.{node.target}".lstrip(".")
        for name, part in _graphs(graph)
        for node in part.nodes
        if node.op == "get_attr"
    }
    held: list[tuple[str, torch.Tensor]] = [
        *graph.named_parameters(remove_duplicate=False),
        *graph.named_buffers(remove_duplicate=False),
    ]
    for name in {name for name, _ in held} - read:
        place, _, own = name.rpartition(".")
        delattr(graph.get_submodule(place), own)


def _graphs(graph: fx.GraphModule) -> Iterator[tuple[str, fx.Graph]]:
    for name, module in graph.named_modules():
        if isinstance(module, fx.GraphModule):
            yield name, module.graph


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Return an op's arguments by name, defaults included."""
    known = node.target._schema.arguments  # type: ignore[union-attr]
    given = {known[at].name: value for at, value in enumerate(node.args)} | node.kwargs
    return {arg.name: arg.default_value for arg in known if arg.has_default_value()} | given


def _is_constant(node: fx.Node) -> bool:
    return node.op == "get_attr"


def _tensor(graph: fx.GraphModule, node: fx.Node | None) -> Any:
    """Return the tensor a node stands for, detached; None for none."""
    if node is None:
        return None
    place, _, name = str(node.target).rpartition(".")
    return getattr(graph.get_submodule(place), name).detach()
