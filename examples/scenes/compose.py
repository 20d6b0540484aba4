"""Composes scenes: photographs of things, cut out, pasted on photographs of grass, water, wood."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from fetch import FOLDERS, STAMPS, WALLPAPERS, pictures

SIDE = 96  # pixels of a scene, both ways
THINGS = (2, 4)  # in a scene, at least and at most
SIZES = (0.3, 0.6)  # of a thing's longer side, by the scene's
LEAST_SEEN = 0.3  # of a thing, for it to have a box
CLASSES = ("background", "animal", "plant")
NO_PHOTOGRAPHS = ("echidna", "hedgehog", "pizza")
NOT_REAL = ("cartoon", "toys", "plastic")  # folders
NO_FLOWERS = (
    *("nature/Aqua.jpg", "nature/Blinds.jpg", "nature/Dune.jpg", "nature/GreenMeadow.jpg"),
    *("nature/RainDrops.jpg", "nature/Storm.jpg", "nature/Wood.jpg", "abstract/Elephants.jpg"),
)
SPLITS = {"train": (0.0, 0.5), "search": (0.5, 0.7), "test": (0.7, 1.0)}  # of the cutouts

Rng = np.random.Generator


class Scene(NamedTuple):
    """A composed picture and what is known about it.

    Args:
        image: Colours, ``3 x SIDE x SIDE``, 0 to 255.
        mask: Class of each pixel, ``SIDE x SIDE``; 0 is the background.
        boxes: Of the things that can be seen, ``things x 4``: left, top, right, bottom in pixels,
            right and bottom outside.
        labels: Their classes, ``things``.
    """

    image: Tensor
    mask: Tensor
    boxes: Tensor
    labels: Tensor


class Composer:
    """Composes scenes out of the cutouts of one split, which no other split has.

    Wallpapers are few, so splits share them; where and how large they are cut out differs.

    Args:
        split: ``train``, ``search`` or ``test``.
        seed: Decides everything, together with the split.
    """

    def __init__(self, split: str, seed: int = 0) -> None:
        home = pictures()
        self._rng = np.random.default_rng([seed, list(SPLITS).index(split)])
        self._cutouts = [
            _cutouts([home / STAMPS / folder for folder in folders], split) for folders in FOLDERS
        ]
        self._wallpapers = [_wallpaper(home / WALLPAPERS / name) for name in NO_FLOWERS]

    def scene(self) -> Scene:
        """Return the next scene; later things hide earlier ones."""
        scene = self._background()
        owner = np.zeros((SIDE, SIDE), np.uint8)  # number of the thing at each pixel
        labels, areas = [0], [0]
        for number in range(1, self._rng.integers(THINGS[0], THINGS[1], endpoint=True) + 1):
            label = int(self._rng.integers(1, len(CLASSES)))
            thing = self._thing(label)
            left, top = (int(self._rng.integers(0, SIDE - edge + 1)) for edge in thing.size)
            scene.paste(thing, (left, top), thing)
            solid = np.asarray(thing.getchannel("A")) >= 128
            owner[top : top + thing.height, left : left + thing.width][solid] = number
            labels.append(label)
            areas.append(int(solid.sum()))
        return _scene(scene, owner, labels, areas)

    def _background(self) -> Image.Image:
        """Return a square out of a wallpaper, a third of its height at least."""
        wallpaper = self._wallpapers[self._rng.integers(len(self._wallpapers))]
        edge = int(self._rng.uniform(1 / 3, 1) * wallpaper.height)
        left = int(self._rng.integers(0, wallpaper.width - edge + 1))
        top = int(self._rng.integers(0, wallpaper.height - edge + 1))
        return wallpaper.resize((SIDE, SIDE), box=(left, top, left + edge, top + edge))

    def _thing(self, label: int) -> Image.Image:
        """Return a cutout of a class, perhaps mirrored, turned, in another size and light."""
        cutouts = self._cutouts[label - 1]
        thing = cutouts[self._rng.integers(len(cutouts))]
        if self._rng.random() < 0.5:
            thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        thing = ImageEnhance.Brightness(thing).enhance(float(self._rng.uniform(0.6, 1.4)))
        thing = ImageEnhance.Color(thing).enhance(float(self._rng.uniform(0.4, 1.6)))
        angle = float(self._rng.uniform(-30, 30))
        thing = thing.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        thing = thing.crop(thing.getbbox())
        scale = self._rng.uniform(*SIZES) * SIDE / max(thing.size)
        return thing.resize(
            (max(round(thing.width * scale), 1), max(round(thing.height * scale), 1))
        )


def _scene(picture: Image.Image, owner: np.ndarray, labels: list[int], areas: list[int]) -> Scene:
    boxes, seen = [], []
    for number in range(1, len(labels)):
        rows, columns = np.nonzero(owner == number)
        if len(rows) > LEAST_SEEN * areas[number]:
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            boxes.append([int(edge) for edge in box])
            seen.append(labels[number])
    return Scene(
        torch.from_numpy(np.array(picture)).permute(2, 0, 1),
        torch.from_numpy(np.array(labels, np.uint8)[owner]),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(seen, dtype=torch.int64),
    )


def _cutouts(folders: Iterable[Path], split: str) -> list[Image.Image]:
    """Return the photographs of a class that belong to a split, small; no mirrored copies."""
    files = [
        file
        for folder in folders
        for file in sorted(folder.rglob("*.png"))
        if file.parent.name not in NOT_REAL
        and file.stem not in NO_PHOTOGRAPHS
        and not file.stem.endswith("_mirror")
    ]
    order = np.random.default_rng(0).permutation(len(files))
    first, last = (round(share * len(files)) for share in SPLITS[split])
    return [_small(files[at]) for at in order[first:last]]


def _small(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        picture = opened.convert("RGBA")
    picture.thumbnail((SIDE, SIDE))
    return picture


def _wallpaper(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((4 * SIDE, 4 * SIDE))
    return picture
