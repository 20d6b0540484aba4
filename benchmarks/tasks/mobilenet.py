"""MobileNetV2 trained on ImageNet and fine-tuned on Fashion-MNIST at 56x56 pixels."""

import hashlib
import inspect
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, Dataset
from torchvision.models import mobilenet_v2

from autoprune._resources import cache_dir
from autoprune.core.imports import load_object
from benchmarks.images import EXAMPLES

TRAIN, SEARCH, TEST = 30_000, 2_000, 10_000
SIDE = 56
EPOCHS, RATE = 4, 0.02

Sample = tuple[torch.Tensor, torch.Tensor]


class Enlarged(Dataset[Sample]):
    """Grey images as three channels, at twice their size; what is kept takes little memory.

    Args:
        images: ``samples x 1 x 28 x 28``.
        labels: ``samples``.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, at: int) -> Sample:
        """Return an image, ``3 x 56 x 56``, and its class."""
        image = interpolate(self._images[at][None], (SIDE, SIDE), mode="bilinear")[0]
        return image.expand(3, -1, -1), self._labels[at]


def net() -> nn.Module:
    """Return MobileNetV2 for ten classes, not trained."""
    model: nn.Module = mobilenet_v2(weights=None, num_classes=10)
    return model.to(memory_format=torch.channels_last)  # takes less time on CPUs


def loaders() -> dict[str, DataLoader[Sample]]:
    """Return the splits: parts of the 60,000 training images, and all test images."""
    given = load_object("data.py:loaders", base=EXAMPLES / "fashion_mnist")()
    found = {}
    for split, count in (("train", TRAIN), ("search", SEARCH), ("test", TEST)):
        images, labels = (part[:count] for part in given[split].dataset.tensors)
        found[split] = DataLoader(
            Enlarged(images, labels),
            batch_size=64 if split == "train" else 125,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(0),
        )
    return found


def checkpoint() -> Path:
    """Return the file with the weights; fine-tune first if there is none of this recipe."""
    recipe = hashlib.sha256(f"{TRAIN} {SIDE} {EPOCHS} {inspect.getsource(tune)}".encode())
    path = cache_dir() / f"fashion-mnist-mobilenet-v2-{recipe.hexdigest()[:12]}.safetensors"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        weights = {name: w.contiguous() for name, w in tune().state_dict().items()}
        save_file(weights, unfinished)
        unfinished.replace(path)
    return path


def tune() -> nn.Module:
    """Return the network, fine-tuned; torch's global random state is left as it was."""
    file = load_object("fetch.py:mobilenet_weights", base=EXAMPLES / "tree_crowns")()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = net()
        weights = torch.load(file, weights_only=True)
        body = {name: w for name, w in weights.items() if name.startswith("features.")}
        model.load_state_dict(model.state_dict() | body)
        batches = loaders()["train"]
        optimiser = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, RATE, epochs=EPOCHS, steps_per_epoch=len(batches)
        )
        model.train()
        for _ in range(EPOCHS):
            for images, labels in batches:
                loss = cross_entropy(model(images), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return model.eval()
