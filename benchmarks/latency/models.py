"""The models, and data for searches that are about latency alone."""

from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autoprune import Classification

NAMES = ("resnet18", "mobilenet_v2", "deeplabv3_mobilenet_v3_large")


def build(name: str) -> nn.Module:
    """Return the model with random weights, in eval mode."""
    torch.manual_seed(0)
    backbone = {"weights_backbone": None} if name.startswith("deeplab") else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **backbone)
    return network.eval()


def images(size: int, batch: int = 2) -> list[torch.Tensor]:
    """Return the arguments of one forward: ``batch x 3 x size x size``."""
    return [torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))]


def task(size: int) -> Classification:
    """Return a task of a few random images: how good a policy is does not matter here."""
    loaders: dict[str, Any] = {}
    for number, split in enumerate(("train", "search", "test")):
        rng = torch.Generator().manual_seed(number)
        data = TensorDataset(
            torch.rand(8, 3, size, size, generator=rng),
            torch.randint(0, 1000, (8,), generator=rng),
        )
        loaders[split] = DataLoader(data, batch_size=4)
    return Classification(loaders)
