"""Python attributes of modules that must follow the shapes of their weights."""

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

Patch = Callable[[nn.Module, nn.Module], None]


def patch_attributes(dense: nn.Module, pruned: nn.Module) -> None:
    """Set the size attributes of every module of ``pruned`` from its weights."""
    for before, after in zip(dense.modules(), pruned.modules(), strict=True):
        for kind, patch in PATCHES.items():
            if isinstance(after, kind):
                patch(before, after)


def _conv(before: nn.Module, after: nn.Module) -> None:
    assert isinstance(before, _ConvNd)
    assert isinstance(after, _ConvNd)
    after.out_channels = after.weight.shape[0]
    if before.groups > 1:  # depthwise: as many groups as channels that are left
        after.groups = before.groups * after.out_channels // before.out_channels
    after.in_channels = after.weight.shape[1] * after.groups


def _linear(_: nn.Module, after: nn.Module) -> None:
    assert isinstance(after, nn.Linear)
    after.out_features, after.in_features = after.weight.shape


def _norm(_: nn.Module, after: nn.Module) -> None:
    assert isinstance(after, _NormBase)
    for vector in (after.weight, after.running_mean):
        if vector is not None:
            after.num_features = vector.shape[0]


PATCHES: dict[type[nn.Module], Patch] = {_ConvNd: _conv, nn.Linear: _linear, _NormBase: _norm}
