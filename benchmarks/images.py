"""Images of tables and networks: split, some seen from other angles, in batches in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from autoprune.core.imports import load_object
from autoprune.tasks import Split
from benchmarks.provenance import CHECKOUT

EXAMPLES = CHECKOUT / "examples"
TRAIN, SEARCH = 600, 900  # digits; 297 are left for the test
FASHION_TRAIN = 10_000
AT_ONCE = 450  # images of a batch that is measured


@dataclass(frozen=True)
class Batches:
    """Batches of tensors in memory; a `DataLoader` would take as long as a small network.

    Args:
        images: ``samples x 1 x side x side``.
        labels: ``samples``.
        size: Samples of a batch; the last one may be smaller.
        shuffle: Whether each pass has its own order, drawn from torch's global generator.
    """

    images: Tensor
    labels: Tensor
    size: int
    shuffle: bool

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.labels)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for chosen in order.split(self.size):
            yield self.images[chosen], self.labels[chosen]


Splits = dict[Split, Batches]
Data = Callable[[], Splits]


def digits(batch_size: int = 64) -> Splits:
    """Return scikit-learn's 1,797 digits, ``1 x 8 x 8``, each moved and blurred by noise.

    Every scan comes several times, turned, shifted and scaled in other ways, so that networks
    err and accuracy is fine-grained; all of one scan are in the same split.

    Args:
        batch_size: Of training; larger ones make short recoveries depend less on the seed.
    """
    scans = load_digits()
    images = torch.tensor(scans.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(scans.target, dtype=torch.int64)
    at = torch.arange(len(labels))
    train, rest = train_test_split(at, train_size=TRAIN, stratify=labels, random_state=0)
    search, test = train_test_split(rest, train_size=SEARCH, stratify=labels[rest], random_state=0)
    rng = torch.Generator().manual_seed(0)
    parts: dict[Split, tuple[Tensor, int]] = {
        "train": (train, 8), "search": (search, 3), "test": (test, 3)
    }  # fmt: skip
    return {
        split: _batches(split, moved(images[c], copies, rng), labels[c].repeat(copies), batch_size)
        for split, (c, copies) in parts.items()
    }


def moved(images: Tensor, copies: int, rng: torch.Generator) -> Tensor:
    """Return each image ``copies`` times, turned up to 17 degrees, shifted, scaled, with noise."""
    count = copies * len(images)

    def draw(most: float) -> Tensor:
        return most * (2 * torch.rand(count, generator=rng) - 1)

    angle, scale, shift_x, shift_y = draw(0.3), 1 + draw(0.15), draw(0.2), draw(0.2)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cos, -sin, shift_x], 1), torch.stack([sin, cos, shift_y], 1)]
    whole = images.repeat(copies, 1, 1, 1)
    grid = affine_grid(torch.stack(rows, 1), list(whole.shape), align_corners=False)
    seen = grid_sample(whole, grid, align_corners=False)
    return (seen - 0.3) / 0.32 + 0.4 * torch.randn(seen.shape, generator=rng)


def fashion(
    train: int = FASHION_TRAIN, search: int = 2_000, test: int = 2_000, at_once: int = AT_ONCE
) -> Splits:
    """Return a part of Fashion-MNIST, averaged to ``1 x 14 x 14``; fetches it where missing.

    Args:
        train: Images to train on, of 55,000.
        search: Images to compare candidates on, of 5,000; they are among the training images.
        test: Test images, of 10,000.
        at_once: Images of a batch that is measured.
    """
    loaders = load_object("data.py:loaders", base=EXAMPLES / "fashion_mnist")()
    most: dict[Split, int] = {"train": train, "search": search, "test": test}
    found: Splits = {}
    for split, count in most.items():
        images, labels = (part[:count] for part in loaders[split].dataset.tensors)
        found[split] = _batches(split, avg_pool2d(images, 2), labels, at_once=at_once)
    return found


def _batches(
    split: Split, images: Tensor, labels: Tensor, batch_size: int = 64, at_once: int = AT_ONCE
) -> Batches:
    train = split == "train"
    return Batches(images, labels, batch_size if train else at_once, shuffle=train)
