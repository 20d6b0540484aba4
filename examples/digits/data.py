"""scikit-learn's digits: 1,797 real scans of handwritten digits, 8x8 pixels, grown to 32x32."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset

MEAN, STD = 0.305, 0.323  # of the training images, scaled to [0, 1]

Batch = tuple[Tensor, ...]  # images, labels


def loaders(batch_size: int = 64) -> dict[str, DataLoader[Batch]]:
    """Return the loaders of the three splits, always the same 60%, 20% and 20% of the images.

    ``train`` is for weights, ``search`` for comparing candidates, ``test`` for the last word.
    Each yields images, ``batch x 1 x 32 x 32``, and class indices, ``batch``.
    """
    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    images = (interpolate(small, size=32, mode="bilinear", antialias=False) - MEAN) / STD
    labels = torch.tensor(digits.target, dtype=torch.int64)
    return {
        split: DataLoader(
            TensorDataset(images[chosen], labels[chosen]),
            batch_size=batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(0),
        )
        for split, chosen in _splits(labels).items()
    }


def _splits(labels: Tensor) -> dict[str, Tensor]:
    """Return the indices of each split, with the same share of every class in all of them."""
    everything = torch.arange(len(labels))
    train, rest = train_test_split(everything, train_size=0.6, stratify=labels, random_state=0)
    search, test = train_test_split(rest, train_size=0.5, stratify=labels[rest], random_state=0)
    return {"train": train, "search": search, "test": test}
