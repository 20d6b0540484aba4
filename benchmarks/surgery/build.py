"""Models of the zoo and inputs for them, the same every time."""

from typing import Any

import timm
import torch
import torchvision
from torch import nn

from autoprune.surgery.compare import outputs
from benchmarks.surgery.zoo import Model

Inputs = list[Any]


def build(model: Model) -> nn.Module:
    """Return the model with random weights, in eval mode."""
    torch.manual_seed(0)
    if model.source == "timm":
        built = timm.create_model(model.name, pretrained=False, **model.options)
    else:
        backbone = {} if model.source == "classification" else {"weights_backbone": None}
        options = {**backbone, **model.options}
        built = torchvision.models.get_model(model.name, weights=None, **options)
    network: nn.Module = built.eval()
    return network


def inputs_of(model: Model, size: int, batch: int = 2) -> Inputs:
    """Return the arguments of one forward: ``batch x 3 x size x size``, a list for detectors."""
    rng = torch.Generator().manual_seed(size + batch)
    images = torch.rand(batch, 3, size, size, generator=rng)
    return [list(images)] if model.source == "detection" else [images]


def input_sets(model: Model, network: nn.Module) -> tuple[Inputs, Inputs]:
    """Return inputs of two sizes, or of two batch sizes if the network takes one size only."""
    first, larger = inputs_of(model, model.size), inputs_of(model, model.size * 3 // 2)
    return first, larger if _takes(network, larger) else inputs_of(model, model.size, batch=3)


def smallest_inputs(model: Model, network: nn.Module) -> Inputs:
    """Return inputs of the least size the network takes; plans do not depend on it."""
    small = inputs_of(model, 64)
    return small if _takes(network, small) else inputs_of(model, model.size)


def _takes(network: nn.Module, inputs: Inputs) -> bool:
    try:
        outputs(network, inputs)
    except Exception:  # a network of fixed size may raise anything
        return False
    return True
