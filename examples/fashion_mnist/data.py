"""Fashion-MNIST: 70,000 real pictures of clothes, 28x28 pixels, 10 classes."""

import gzip
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from fetch import fashion_mnist

MEAN, STD = 0.286, 0.353  # of the training images, scaled to [0, 1]
SEARCH_IMAGES = 5_000

Batch = tuple[Tensor, ...]  # images, labels


def loaders(batch_size: int = 128) -> dict[str, DataLoader[Batch]]:
    """Return the loaders of the three splits, always the same images.

    ``train`` is for weights, ``search`` for comparing candidates; both come out of the 60,000
    training images. ``test`` has the 10,000 test images, for the last word. Each yields images,
    ``batch x 1 x 28 x 28``, and class indices, ``batch``.
    """
    folder = fashion_mnist()
    images, labels = _read(folder, "train")
    train, search = train_test_split(
        torch.arange(len(labels)), test_size=SEARCH_IMAGES, stratify=labels, random_state=0
    )
    splits = {
        "train": TensorDataset(images[train], labels[train]),
        "search": TensorDataset(images[search], labels[search]),
        "test": TensorDataset(*_read(folder, "t10k")),
    }
    return {
        split: DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(0),
        )
        for split, dataset in splits.items()
    }


def _read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return normalised images and their labels; the files have headers of 16 and 8 bytes."""
    pixels = np.frombuffer(_unzip(folder / f"{part}-images-idx3-ubyte.gz")[16:], np.uint8)
    classes = np.frombuffer(_unzip(folder / f"{part}-labels-idx1-ubyte.gz")[8:], np.uint8)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 28, 28)
    return images.div_(255).sub_(MEAN).div_(STD), torch.tensor(classes, dtype=torch.int64)


def _unzip(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()
