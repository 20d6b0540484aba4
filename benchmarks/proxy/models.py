"""Two networks trained on Fashion-MNIST, and the data that their pruned copies are judged by."""

import hashlib
import inspect
import os
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset

from autoprune import Classification
from autoprune._resources import cache_dir
from autoprune.core.imports import load_object
from benchmarks.provenance import CHECKOUT

NAMES = ("resnet14", "mobilenet_v2")
BATCH = 64
SEARCH_IMAGES, TEST_IMAGES = 2_000, 5_000
EPOCHS = 4
PEAK_LEARNING_RATE = 0.1
_EXAMPLE = CHECKOUT / "examples" / "fashion_mnist"


def task() -> Classification:
    """Return the example's task with fewer images to measure on; no image is in two splits."""
    loaders: dict[str, Any] = load_object("data.py:loaders", base=_EXAMPLE)(BATCH)
    few = {
        split: DataLoader(Subset(loaders[split].dataset, range(images)), batch_size=125)
        for split, images in (("search", SEARCH_IMAGES), ("test", TEST_IMAGES))
    }
    return Classification(loaders | few)


def dense(name: str) -> nn.Module:
    """Return a trained network in eval mode; it is trained once and kept in the cache.

    Args:
        name: ``resnet14`` (the example's), ``resnet20`` or ``mobilenet_v2``.
    """
    if name == "resnet14":
        network: nn.Module = load_object("model.py:resnet", base=_EXAMPLE)()
        path: Path = load_object("train.py:checkpoint", base=_EXAMPLE)()
    else:
        network = _mobilenet() if name == "mobilenet_v2" else _resnet20()
        recipe = inspect.getsource(_trained) + inspect.getsource(_mobilenet)
        digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        path = cache_dir() / f"fashion-mnist-{name}-{digest}.safetensors"
        if not path.exists():
            unfinished = path.with_suffix(f".{os.getpid()}.tmp")
            save_file(_trained(network).state_dict(), unfinished)
            unfinished.replace(path)
    network.load_state_dict(load_file(path))
    return network.eval()


def _resnet20() -> nn.Module:
    """Return the example's network with three blocks in each stage."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = load_object("model.py:resnet", base=_EXAMPLE)(blocks=3)
    return network


def _mobilenet() -> nn.Module:
    """Return MobileNetV2 of half the width for 28x28 grey pixels: its stem keeps the size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = torchvision.models.mobilenet_v2(
            weights=None, num_classes=10, width_mult=0.5
        )
        stem = network.get_submodule("features.0")
        assert isinstance(stem, nn.Sequential)
        stem[0] = nn.Conv2d(1, 16, 3, padding=1, bias=False)
    return network


def _trained(network: nn.Module) -> nn.Module:
    """Train as the example does."""
    batches = load_object("data.py:loaders", base=_EXAMPLE)()["train"]
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=len(batches)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for dropout
        for _ in range(EPOCHS):
            for images, labels in batches:
                loss = cross_entropy(network.train()(images), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return network.to(memory_format=torch.contiguous_format)
