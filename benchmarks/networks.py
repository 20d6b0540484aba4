"""Two networks trained on Fashion-MNIST at 14x14 pixels, and what judges their pruned copies.

A quarter of the pixels takes a quarter of the time: a comparison of searches scores thousands of
policies.
"""

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from functools import cache

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from autoprune import Classification
from autoprune._resources import cache_dir
from autoprune.core.imports import load_object
from benchmarks.images import EXAMPLES, Splits, fashion
from benchmarks.tables import network

TRAIN_IMAGES, SEARCH_IMAGES, TEST_IMAGES = 30_000, 2_000, 10_000
AT_ONCE = 125  # images of a batch that is measured: a paired test needs several
EPOCHS = 6


@cache
def images() -> Splits:
    """Return the images; none is in two splits."""
    return fashion(TRAIN_IMAGES, SEARCH_IMAGES, TEST_IMAGES, AT_ONCE)


def task() -> Classification:
    """Return the task that policies are scored by."""
    return Classification(images())


def dense(name: str) -> nn.Module:
    """Return a trained network in eval mode; it is trained once and kept in the cache.

    Its weights lie channels last: depthwise convolutions take half the time on CPUs.

    Args:
        name: One of `NETWORKS`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = NETWORKS[name]()
    path = cache_dir() / f"fashion-mnist-14-{name}-{_recipe(name)}.safetensors"
    if not path.exists():
        model.to(memory_format=torch.channels_last)
        network.train(model, images(), EPOCHS)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(model.to(memory_format=torch.contiguous_format).state_dict(), unfinished)
        unfinished.replace(path)
    model.load_state_dict(load_file(path))
    return model.to(memory_format=torch.channels_last).eval()


def _recipe(name: str) -> str:
    """Return what tells weights of other recipes apart."""
    sources = inspect.getsource(NETWORKS[name]) + inspect.getsource(network.train)
    settings = f"{TRAIN_IMAGES} {EPOCHS} {sources}"
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


def resnet20() -> nn.Module:
    """Return the network of ``examples/fashion_mnist`` with three blocks in each stage."""
    found: nn.Module = load_object("model.py:resnet", base=EXAMPLES / "fashion_mnist")(blocks=3)
    return found


def mobilenet_v2() -> nn.Module:
    """Return MobileNetV2 of half the width for small grey images: it halves them twice."""
    found: nn.Module = torchvision.models.mobilenet_v2(
        weights=None, num_classes=10, width_mult=0.5
    )
    found.set_submodule("features.0.0", nn.Conv2d(1, 16, 3, padding=1, bias=False))
    for name in ("features.2.conv.1.0", "features.14.conv.1.0"):
        module = found.get_submodule(name)
        assert isinstance(module, nn.Conv2d)
        module.stride = (1, 1)
    return found


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "resnet20": resnet20,
    "mobilenet_v2": mobilenet_v2,
}
