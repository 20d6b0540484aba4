"""Composed scenes: animals and plants on wallpapers, 96x96, with masks."""

import hashlib
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from autoprune._resources import cache_dir

import compose
from compose import SPLITS, Composer

MEAN = torch.tensor([125.0, 146.0, 102.0]).reshape(3, 1, 1)  # of the training images
STD = torch.tensor([61.0, 58.0, 74.0]).reshape(3, 1, 1)
SCENES = {"train": 4_000, "search": 400, "test": 600}

Batch = tuple[Tensor, Tensor]  # images, masks


class Scenes(Dataset[Batch]):
    """Pairs of a normalised image, ``3 x 96 x 96``, and its mask, ``96 x 96``.

    Args:
        images: Colours, ``scenes x 3 x 96 x 96``, 0 to 255.
        masks: Classes of pixels, ``scenes x 96 x 96``.
    """

    def __init__(self, images: Tensor, masks: Tensor) -> None:
        self.images, self.masks = images, masks

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        return (self.images[index] - MEAN) / STD, self.masks[index].long()


def loaders(batch_size: int = 32) -> dict[str, DataLoader[Batch]]:
    """Return the loaders of the three splits, always the same scenes.

    ``train`` is for weights, ``search`` for comparing candidates, ``test`` for the last word; no
    cutout is in two of them. Each yields images, ``batch x 3 x 96 x 96``, and masks, ``batch x 96
    x 96``: 0 background, 1 animal, 2 plant.
    """
    return {
        split: DataLoader(
            Scenes(**scenes(split)),
            batch_size=batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(0),
        )
        for split in SPLITS
    }


def scenes(split: str) -> dict[str, Tensor]:
    """Return images and masks of a split; they are composed once and kept in the cache."""
    recipe = hashlib.sha256(Path(compose.__file__).read_bytes()).hexdigest()[:12]
    path = cache_dir() / f"scenes-{split}-{SCENES[split]}-{recipe}.safetensors"
    if not path.exists():
        composer = Composer(split)
        made = [composer.scene() for _ in range(SCENES[split])]
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        stacks = {
            "images": torch.stack([scene.image for scene in made]),
            "masks": torch.stack([scene.mask for scene in made]),
        }
        save_file(stacks, unfinished)
        unfinished.replace(path)  # in one step: nobody ever sees half a file
    return load_file(path)
