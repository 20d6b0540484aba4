"""scikit-learn's digits with synthetic captions: sentences made up from what is seen in a scan."""

import random

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset

MEAN, STD = 0.305, 0.319  # of the training images, scaled to [0, 1]
SEARCH, TEST = 359, 360  # images

DIGITS = (
    ("zero", "nought", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
)
INK = (("faint", "pale", "light"), ("plain", "ordinary"), ("bold", "dark", "heavy"))
WIDTH = (("narrow", "slim"), ("regular", "usual"), ("wide", "broad"))
SLANT = (
    ("leaning right", "tilted right"),
    ("upright", "straight"),
    ("leaning left", "tilted left"),
)
TEMPLATES = (
    "a photo of the {ink} {width} digit {digit} {slant}",
    "the number {digit} {slant} {width} and {ink}",
    "a {slant} {digit} which is {ink} and {width}",
    "{ink} handwriting that shows a {width} {digit} {slant}",
)
# Thirds of all images: ink of 64 pixels, spread in pixels, pixels to the left per row.
BOUNDS = {"ink": (4.6, 5.15), "width": (1.2, 1.33), "slant": (-0.01, 0.09)}

_SYNONYMS = [words for group in (DIGITS, INK, WIDTH, SLANT) for words in group]
_TEXTS = [text for texts in (*_SYNONYMS, TEMPLATES) for text in texts]
PAD = 0
WORDS = ["", *sorted({w for text in _TEXTS for w in text.split() if "{" not in w})]
LENGTH = 12  # words, padding included

Batch = tuple[Tensor, ...]  # images, tokens


def loaders(batch_size: int = 128) -> dict[str, DataLoader[Batch]]:
    """Return the loaders of the three splits, always the same 60%, 20% and 20% of the pairs.

    ``train`` is for weights, ``search`` for comparing candidates, ``test`` for the last word.
    Each yields images, ``batch x 1 x 16 x 16``, and tokens of captions, ``batch x LENGTH``.
    """
    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    images = (interpolate(small, size=16, mode="bilinear", antialias=False) - MEAN) / STD
    tokens = torch.tensor([tokens_of(text) for text in captions(digits.images, digits.target)])
    return {
        split: DataLoader(
            TensorDataset(images[chosen], tokens[chosen]),
            batch_size=batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(0),
        )
        for split, chosen in _splits(digits.target).items()
    }


def captions(scans: NDArray[np.float64], classes: NDArray[np.int64]) -> list[str]:
    """Return a sentence for each scan; scans that are alike in all it says have the same.

    Args:
        scans: ``samples x 8 x 8``, ink from 0 to 16.
        classes: The digits, ``samples``.
    """
    thirds = [np.digitize(found, BOUNDS[name]) for name, found in _measures(scans).items()]
    return [_sentence(*map(int, row)) for row in zip(classes, *thirds, strict=True)]


def tokens_of(caption: str) -> list[int]:
    """Return the numbers of the words of a caption, padded to `LENGTH`."""
    found = [WORDS.index(word) for word in caption.split()]
    return [*found, *[PAD] * (LENGTH - len(found))]


def _measures(scans: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return mean ink, horizontal spread and slant of each scan."""
    shares = scans / scans.sum((1, 2), keepdims=True)
    y, x = np.mgrid[:8, :8]
    x, y = (at - (shares * at).sum((1, 2), keepdims=True) for at in (x, y))
    across, down, both = ((shares * part).sum((1, 2)) for part in (x * x, y * y, x * y))
    return {"ink": scans.mean((1, 2)), "width": np.sqrt(across), "slant": both / down}


def _sentence(digit: int, ink: int, width: int, slant: int) -> str:
    """Return what says this, in words that depend on all of it."""
    rng = random.Random(f"{digit} {ink} {width} {slant}")
    template = rng.choice(TEMPLATES)
    return template.format(
        digit=rng.choice(DIGITS[digit]),
        ink=rng.choice(INK[ink]),
        width=rng.choice(WIDTH[width]),
        slant=rng.choice(SLANT[slant]),
    )


def _splits(classes: NDArray[np.int64]) -> dict[str, Tensor]:
    """Return the indices of each split, with the same share of every digit in all of them."""
    rest, test = train_test_split(
        np.arange(len(classes)), test_size=TEST, stratify=classes, random_state=0
    )
    train, search = train_test_split(
        rest, test_size=SEARCH, stratify=classes[rest], random_state=0
    )
    return {
        "train": torch.tensor(train),
        "search": torch.tensor(search),
        "test": torch.tensor(test),
    }
