"""A small network for scikit-learn's digits, 8x8 pixels, and what trains and judges it."""

from collections import OrderedDict

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

Loader = DataLoader[tuple[Tensor, ...]]  # images, labels


def loaders() -> dict[str, Loader]:
    """Return the loaders of the three splits: 60%, 20% and 20% of 1,797 images."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target, dtype=torch.int64)
    train, rest = train_test_split(torch.arange(len(labels)), train_size=0.6, random_state=0)
    search, test = train_test_split(rest, train_size=0.5, random_state=0)
    splits = {"train": train, "search": search, "test": test}
    return {
        name: DataLoader(TensorDataset(images[own], labels[own]), 64, shuffle=name == "train")
        for name, own in splits.items()
    }


def dense(batches: Loader) -> nn.Module:
    """Return the network after twelve epochs; it takes a few seconds."""
    torch.manual_seed(0)
    layers = {"first": _layer(1, 16), "second": _layer(16, 32), "third": _layer(32, 32)}
    head = {"flatten": nn.Flatten(), "head": nn.Linear(32 * 4, 10)}
    model = nn.Sequential(OrderedDict(layers | head))
    for rate in (0.1,) * 9 + (0.01,) * 3:
        train(model, batches, rate)
    return model


def _layer(channels_in: int, channels: int) -> nn.Module:
    parts = {
        "conv": nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "pool": nn.MaxPool2d(2) if channels_in > 1 else nn.Identity(),
    }
    return nn.Sequential(OrderedDict(parts))


def train(model: nn.Module, batches: Loader, rate: float) -> None:
    """Train ``model`` for one epoch at the learning rate ``rate``."""
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    model.train()
    for images, labels in batches:
        optimiser.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimiser.step()


@torch.no_grad()
def loss_and_accuracy(model: nn.Module, batches: Loader) -> tuple[float, float]:
    """Return the mean cross-entropy and the share of images that are classified rightly."""
    model.eval()
    outputs, labels = zip(*((model(images), labels) for images, labels in batches), strict=True)
    logits, classes = torch.cat(outputs), torch.cat(labels)
    right = (logits.argmax(1) == classes).float().mean()
    return cross_entropy(logits, classes).item(), right.item()
