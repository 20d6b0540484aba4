"""Which module gets which adapter; they are imported when their module is met."""

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, TypeGuard, cast

from torch import nn

from autoprune.surgery.adapt.heads import Gone
from autoprune.surgery.adapt.recipes import RECIPES
from autoprune.surgery.adapt.rewrite import rewritten
from autoprune.surgery.tensors import copied, state_tensors

_HERE = "autoprune.surgery.adapt"
_SWIN = "torchvision.models.swin_transformer"
_STD = "timm.layers.std_conv"
_ADAPTERS = {
    "torch.nn.modules.activation.MultiheadAttention": "multihead:SlicedMultiheadAttention",
    f"{_SWIN}.ShiftedWindowAttention": "torchvision_swin:SlicedWindowAttention",
    f"{_SWIN}.ShiftedWindowAttentionV2": "torchvision_swin:SlicedWindowAttentionV2",
    f"{_STD}.ScaledStdConv2d": "timm_std_conv:SlicedScaledStdConv2d",
    f"{_STD}.ScaledStdConv2dSame": "timm_std_conv:SlicedScaledStdConv2dSame",
    f"{_STD}.StdConv2d": "timm_std_conv:SlicedStdConv2d",
    f"{_STD}.StdConv2dSame": "timm_std_conv:SlicedStdConv2dSame",
}


class Adapter(Protocol):
    """A module class that can take over an instance of the class it stands in for."""

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Tell whether this instance's settings are covered."""
        ...

    @classmethod
    def adopt(cls, module: nn.Module) -> None:
        """Turn the instance into one of this class."""
        ...

    def resize(self, gone: Gone) -> None:
        """Let sizes follow the weights after positions, by local tensor name, are gone."""
        ...


def adapter_of(module: nn.Module) -> type[Adapter] | None:
    """Return the adapter of a module, if it has one that fits; of an adapted one, its own."""
    if is_adapter(module):
        return type(module)
    kind = type(module)
    path = f"{kind.__module__}.{kind.__qualname__}"
    adapter: type[Adapter] | None = None
    if path in _ADAPTERS:
        file, _, name = _ADAPTERS[path].partition(":")
        adapter = cast(type[Adapter], getattr(import_module(f"{_HERE}.{file}"), name))
    elif path in RECIPES:
        adapter = rewritten(path)
    return adapter if adapter is not None and adapter.fits(module) else None


def is_adapter(module: nn.Module) -> TypeGuard[Adapter]:
    """Tell whether an adapter has taken the module over."""
    return type(module).__module__.startswith(_HERE)


def adapt_modules(model: nn.Module, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Let adapters take over the modules of ``model`` whose names are wanted, in place."""
    for name, module in model.named_modules():
        adapter = adapter_of(module)
        if adapter is not None and not isinstance(module, adapter) and wanted(name):
            adapter.adopt(module)


def adapted(model: nn.Module) -> nn.Module:
    """Return ``model`` with adapted modules; it shares every tensor and is left as it is."""
    if not any(adapter_of(module) for module in model.modules()):
        return model
    shared = {id(tensor): tensor for tensor in state_tensors(model).values()}
    twin = copied(model, dict(shared))
    adapt_modules(twin)
    return twin
