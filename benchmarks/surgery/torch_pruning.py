"""Torch-Pruning, the tool we are measured against: how a person who knows it well calls it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils._pytree import tree_leaves
from torchvision.models import VisionTransformer

from autoprune._resources import cache_dir
from benchmarks.surgery.build import Inputs
from benchmarks.surgery.zoo import Model

VERSION = "1.6.1"
SPARSITY = 0.3
_DETECTOR_HEADS = ("head", "rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor")
_CLASSES = {1000, 21}


def install() -> Path:
    """Return a folder that holds Torch-Pruning; it is no dependency and never meets our own.

    Raises:
        RuntimeError: If the package cannot be installed.
    """
    folder = cache_dir() / f"torch-pruning-{VERSION}"
    if not (folder / "torch_pruning" / "__init__.py").is_file():
        wanted = [f"torch-pruning=={VERSION}", "--no-deps", "--target", str(folder)]
        command = [sys.executable, "-m", "pip", "install", "--quiet", *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f"Torch-Pruning {VERSION} cannot be installed: {done.stderr.strip()[-300:]} "
                "Check the network and run again: what is done is kept."
            )
    return folder


def pruner_of(
    folder: str, model: Model, network: nn.Module, inputs: Inputs, *, expert: bool
) -> Any:
    """Return its pruner for ``network``; making it traces the network, ``step`` prunes it.

    Args:
        folder: Where `install` put it.
        model: What ``network`` was built from.
        network: Pruned in place by ``step``.
        inputs: Arguments of one forward.
        expert: Whether to give the settings of somebody who knows both, or what anybody would.
    """
    if folder not in sys.path:
        sys.path.append(folder)
    import torch_pruning as tp

    settings = _expert_settings(model, network) if expert else {}
    importance = tp.importance.MagnitudeImportance(p=1)
    example = inputs if expert else inputs[0]
    return tp.pruner.MagnitudePruner(
        network, example, importance=importance, pruning_ratio=SPARSITY, **settings
    )


def _expert_settings(model: Model, network: nn.Module) -> dict[str, Any]:
    """Return what its own examples give: heads left alone, outputs filtered, heads counted."""
    detects = model.source == "detection"
    settings: dict[str, Any] = {
        "ignored_layers": list(_output_layers(model, network)),
        "output_transform": _with_gradient,
        "forward_fn": _raw_heads if hasattr(network, "head") and detects else _forward,
        "num_heads": {},
    }
    module: Any
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # its trace does not know the fused one
        qkv = getattr(module, "qkv", getattr(module, "qkv_proj", None))
        if isinstance(qkv, nn.Module) and hasattr(module, "num_heads"):
            settings["num_heads"][qkv] = module.num_heads
        if isinstance(module, nn.MultiheadAttention):
            settings["round_to"] = module.num_heads
    return settings


def _output_layers(model: Model, network: nn.Module) -> Iterator[nn.Module]:
    if model.source == "detection":
        named = dict(network.named_modules())
        yield from (named[name] for name in _DETECTOR_HEADS if name in named)
    for module in network.modules():
        size = getattr(module, "out_features", getattr(module, "out_channels", None))
        if isinstance(module, nn.Linear | nn.Conv2d) and size in _CLASSES:
            yield module
        if isinstance(module, NonDynamicallyQuantizableLinear):  # inside MultiheadAttention
            yield module


def _forward(network: nn.Module, inputs: Inputs) -> Any:
    return network(*inputs)


def _raw_heads(network: Any, inputs: Inputs) -> Any:
    """Return what a one-stage detector's head gives, before boxes are chosen."""
    images, _ = network.transform(inputs[0])
    return network.head(list(network.backbone(images.tensors).values()))


def _with_gradient(out: Any) -> list[Tensor]:
    return [x for x in tree_leaves(out) if isinstance(x, Tensor) and x.requires_grad]


def mend_attributes(network: nn.Module) -> None:
    """Set the numbers that modules keep about their width, as its examples do after a step."""
    for module in network.modules():
        qkv = getattr(module, "qkv", getattr(module, "qkv_proj", None))
        heads = getattr(module, "num_heads", None)
        if isinstance(qkv, nn.Linear) and isinstance(heads, int):
            width = qkv.out_features // 3
            for name, value in {"head_dim": width // heads, "attn_dim": width}.items():
                if hasattr(module, name):
                    setattr(module, name, value)
        if isinstance(module, VisionTransformer):
            module.hidden_dim = module.conv_proj.out_channels
