"""Python attributes of modules that must follow the shapes of their weights."""

import operator
from collections.abc import Callable, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from autoprune.surgery.adapt import is_adapter
from autoprune.surgery.ids import Ids
from autoprune.surgery.rules.grouping import whole_groups

Patch = Callable[[nn.Module, nn.Module], None]


def patch_attributes(
    dense: nn.Module, pruned: nn.Module, removed: Mapping[str, Mapping[int, Ids]]
) -> None:
    """Set the size attributes of every module of ``pruned`` from its weights.

    An adapter is told the removed positions by local tensor name.
    """
    original = dict(dense.named_modules())
    modules = dict(pruned.named_modules())
    for name, after in modules.items():
        for kind, patch in PATCHES.items():
            if isinstance(after, kind):
                patch(original[name], after)
    for name, after in modules.items():  # layers first: adapters read their sizes
        if is_adapter(after):
            start = f"{name}." if name else ""
            own = {t.removeprefix(start): d for t, d in removed.items() if t.startswith(start)}
            after.resize(own)


def _conv_transpose(before: nn.Module, after: nn.Module) -> None:
    assert isinstance(before, _ConvTransposeNd)
    assert isinstance(after, _ConvTransposeNd)
    after.in_channels = after.weight.shape[0]
    if before.groups > 1:
        after.groups = before.groups * after.in_channels // before.in_channels
    after.out_channels = after.weight.shape[1] * after.groups


def _conv(before: nn.Module, after: nn.Module) -> None:
    assert isinstance(before, _ConvNd)
    assert isinstance(after, _ConvNd)
    if isinstance(after, _ConvTransposeNd):
        return
    after.out_channels = after.weight.shape[0]
    if before.groups > 1 and whole_groups(before.groups, before.weight.shape[1]):
        after.groups = before.groups * after.out_channels // before.out_channels
    after.in_channels = after.weight.shape[1] * after.groups


def _linear(_: nn.Module, after: nn.Module) -> None:
    assert isinstance(after, nn.Linear)
    after.out_features, after.in_features = after.weight.shape


def _embedding(_: nn.Module, after: nn.Module) -> None:
    assert isinstance(after, nn.Embedding)
    after.num_embeddings, after.embedding_dim = after.weight.shape


def _norm(_: nn.Module, after: nn.Module) -> None:
    assert isinstance(after, _NormBase)
    for vector in (after.weight, after.running_mean):
        if vector is not None:
            after.num_features = vector.shape[0]


def _group_norm(before: nn.Module, after: nn.Module) -> None:
    assert isinstance(before, nn.GroupNorm)
    assert isinstance(after, nn.GroupNorm)
    if after.weight is not None:
        after.num_channels = after.weight.shape[0]
        if whole_groups(before.num_groups, before.num_channels // before.num_groups):
            after.num_groups = before.num_groups * after.num_channels // before.num_channels


def _layer_norm(_: nn.Module, after: nn.Module) -> None:
    assert isinstance(after, (nn.LayerNorm, nn.RMSNorm))
    if after.weight is not None:
        after.normalized_shape = tuple(after.weight.shape)


# Sizes written into the objects of other packages: attribute, tensor and dimension it follows.
_FOLLOWS: dict[str, dict[str, tuple[str, int]]] = {
    "torchvision.models.vision_transformer.VisionTransformer": {"hidden_dim": ("class_token", 2)},
}


def _follow(_: nn.Module, after: nn.Module) -> None:
    kind = type(after)
    followed = _FOLLOWS.get(f"{kind.__module__}.{kind.__qualname__}", {})
    for attribute, (path, dim) in followed.items():
        setattr(after, attribute, operator.attrgetter(path)(after).shape[dim])


PATCHES: dict[type[nn.Module], Patch] = {
    _ConvNd: _conv,
    _ConvTransposeNd: _conv_transpose,
    nn.Embedding: _embedding,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    nn.RMSNorm: _layer_norm,
    _NormBase: _norm,
    nn.Module: _follow,
}
