"""Tree crowns in four aerial images, cut into tiles; splits lie side by side in each image."""

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image

from fetch import IMAGES, tree_crowns

TILE = 192  # pixels
CROPS = 160  # of a pass over the training split
PARTS = {"train": (0.0, 0.55), "search": (0.55, 0.7), "test": (0.7, 1.0)}  # of an image's width
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what MobileNetV2 was trained with
LEAST_SEEN = 0.4  # share of a crown's area inside a tile

Sample = tuple[Tensor, dict[str, Tensor]]  # image, boxes and labels
Batch = tuple[Tensor, list[dict[str, Tensor]]]


@dataclass(frozen=True)
class Strip:
    """A part of an aerial image: ``3 x h x w``, normalised, and its boxes, ``boxes x 4``."""

    image: Tensor
    boxes: Tensor

    def tile(self, top: int, left: int) -> Sample:
        """Return the tile that starts there, and the crowns of which it shows enough."""
        window = torch.tensor([left, top, left + TILE, top + TILE])
        low, high = torch.max(self.boxes, window[[0, 1, 0, 1]]), window[[2, 3, 2, 3]]
        seen = torch.min(low, high)
        share = _areas(seen) / _areas(self.boxes)
        boxes = (seen - window[[0, 1, 0, 1]])[share >= LEAST_SEEN].float()
        labels = torch.zeros(len(boxes), dtype=torch.int64)
        image = self.image[:, top : top + TILE, left : left + TILE]
        return image, {"boxes": boxes, "labels": labels}


class Tiles(Dataset[Sample]):
    """All tiles of strips, side by side, that show a crown."""

    def __init__(self, strips: Iterable[Strip]) -> None:
        found = (
            strip.tile(top, left)
            for strip in strips
            for top in range(0, strip.image.shape[1] - TILE + 1, TILE)
            for left in range(0, strip.image.shape[2] - TILE + 1, TILE)
        )
        self._tiles = [one for one in found if len(one[1]["labels"])]

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, at: int) -> Sample:
        """Return an image and its boxes."""
        return self._tiles[at]


class Crops(Dataset[Sample]):
    """`CROPS` tiles from anywhere in strips, mirrored and turned, drawn anew each time."""

    def __init__(self, strips: Iterable[Strip]) -> None:
        self._strips = list(strips)
        areas = [float(strip.image[0].numel()) for strip in self._strips]
        self._weights = torch.tensor(areas)

    def __len__(self) -> int:
        return CROPS

    def __getitem__(self, at: int) -> Sample:
        """Return an image and its boxes; few are empty."""
        for _ in range(5):
            strip = self._strips[int(torch.multinomial(self._weights, 1))]
            top, left = (
                int(torch.randint(0, size - TILE + 1, ())) for size in strip.image.shape[1:]
            )
            image, target = strip.tile(top, left)
            if len(target["labels"]):
                break
        return _turned(image, target)


def loaders(batch_size: int = 8) -> dict[str, DataLoader[Sample]]:
    """Return the loaders of the three splits: images, ``batch x 3 x 192 x 192``, and targets.

    ``train`` is the left of each image, ``test`` the right, ``search`` lies between; the two
    small images have no room for it. A detector does not generalise from one site to the others.
    """
    strips = {split: list(_strips(split)) for split in PARTS}
    datasets: dict[str, Dataset[Sample]] = {"train": Crops(strips["train"])}
    datasets |= {split: Tiles(strips[split]) for split in ("search", "test")}
    return {
        split: DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=split == "train",
            collate_fn=_stacked,
            generator=torch.Generator().manual_seed(0),
        )
        for split, dataset in datasets.items()
    }


def _strips(split: str) -> Iterable[Strip]:
    folder = tree_crowns()
    for name in IMAGES:
        image = decode_image(str(folder / f"{name}.png"), ImageReadMode.RGB).float() / 255
        image = (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        boxes = _boxes(ElementTree.parse(folder / f"{name}.xml").getroot())
        start, end = (round(share * image.shape[2]) for share in PARTS[split])
        if split == "search" and end - start < TILE // 2:
            continue
        image = image[:, :, start:end]
        lacking = [max(0, TILE - size) for size in image.shape[1:]]
        yield Strip(pad(image, (0, lacking[1], 0, lacking[0])), _inside(boxes, start, end))


def _inside(boxes: Tensor, start: int, end: int) -> Tensor:
    """Return the boxes of a part of the width, where it shows enough of them."""
    seen = boxes.clone()
    seen[:, [0, 2]] = seen[:, [0, 2]].clamp(start, end)
    kept = _areas(seen) >= LEAST_SEEN * _areas(boxes)
    return seen[kept] - torch.tensor([start, 0, start, 0])


def _boxes(root: ElementTree.Element) -> Tensor:
    """Return the boxes of a file in the format of Pascal VOC."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    found = [[float(box.findtext(s, "0")) for s in sides] for box in root.iter("bndbox")]
    return torch.tensor(found)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(1)


def _turned(image: Tensor, target: dict[str, Tensor]) -> Sample:
    """Return a crop mirrored and turned by quarters at random."""
    boxes = target["boxes"]
    if bool(torch.randint(2, ())):
        image, boxes = image.flip(2), _mirrored(boxes)
    for _ in range(int(torch.randint(4, ()))):  # a transpose and a mirroring are a quarter turn
        image, boxes = image.transpose(1, 2).flip(2), _mirrored(boxes[:, [1, 0, 3, 2]])
    return image, target | {"boxes": boxes}


def _mirrored(boxes: Tensor) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([TILE - x2, y1, TILE - x1, y2], 1)


def _stacked(samples: list[Sample]) -> Batch:
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]
