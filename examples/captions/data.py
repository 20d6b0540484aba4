"""Fashion-MNIST with synthetic captions: sentences made up from what is seen in a picture."""

import random
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from autoprune.core.imports import load_object

PICTURES = Path(__file__).parent.with_name("fashion_mnist")
PAIRS = {"train": 40_000, "search": 2_000, "test": 4_000}

CLOTHES = (
    ("tee", "undershirt"),
    ("trousers", "pants"),
    ("pullover", "sweater"),
    ("dress", "gown"),
    ("coat", "jacket"),
    ("sandals", "slippers"),
    ("shirt", "blouse"),
    ("sneakers", "trainers"),
    ("bag", "purse"),
    ("boots", "bootees"),
)
SHADE = (("dark", "black", "dim"), ("grey", "plain"), ("bright", "white", "pale"))
WIDTH = (("narrow", "slim"), ("regular", "usual"), ("wide", "broad"))
HEIGHT = (("short", "low"), ("medium", "average"), ("tall", "high"))
TEMPLATES = (
    "a photo of {shade} {clothes} {width} and {height}",
    "{clothes} in {shade} of {height} height and {width}",
    "some {width} {height} {clothes} which look {shade}",
    "{shade} {width} {clothes} that are {height}",
)
# Thirds of all training pictures: brightness of what is no background, from 0 to 1, and spread
# sideways and upright, in pixels.
BOUNDS = {"shade": (0.547, 0.71), "width": (4.94, 6.27), "height": (6.07, 7.44)}
BACKGROUND = 0.05  # brightness, at most

_SYNONYMS = [words for group in (CLOTHES, SHADE, WIDTH, HEIGHT) for words in group]
_TEXTS = [text for texts in (*_SYNONYMS, TEMPLATES) for text in texts]
PAD = 0
WORDS = ["", *sorted({w for text in _TEXTS for w in text.split() if "{" not in w})]
LENGTH = 8  # words, padding included

Batch = tuple[Tensor, ...]  # images, tokens


def loaders(batch_size: int = 128) -> dict[str, DataLoader[Batch]]:
    """Return the loaders of the three splits, always the same pairs.

    ``train`` is for weights, ``search`` for comparing candidates; both come out of the 60,000
    training pictures. ``test`` is the first 4,000 test pictures, for the last word. Each yields
    images, ``batch x 1 x 28 x 28``, and tokens of captions, ``batch x LENGTH``.
    """
    given = load_object("data.py:loaders", base=PICTURES)()
    mean, std = (load_object(f"data.py:{name}", base=PICTURES) for name in ("MEAN", "STD"))
    found = {}
    for split, count in PAIRS.items():
        images, classes = (part[:count] for part in given[split].dataset.tensors)
        pictures = (images[:, 0].numpy() * std + mean).clip(0, 1)
        tokens = [tokens_of(text) for text in captions(pictures, classes.numpy())]
        found[split] = DataLoader(
            TensorDataset(images, torch.tensor(tokens)),
            batch_size=batch_size,
            shuffle=split == "train",
            generator=torch.Generator().manual_seed(0),
        )
    return found


def captions(pictures: NDArray[np.floating], classes: NDArray[np.int64]) -> list[str]:
    """Return a sentence for each picture; those alike in all it says have the same.

    Args:
        pictures: ``samples x 28 x 28``, brightness from 0 to 1.
        classes: What they show, ``samples``.
    """
    thirds = [np.digitize(found, BOUNDS[name]) for name, found in _measures(pictures).items()]
    return [_sentence(*map(int, row)) for row in zip(classes, *thirds, strict=True)]


@cache
def tokens_of(caption: str) -> tuple[int, ...]:
    """Return the numbers of the words of a caption, padded to `LENGTH`."""
    found = [WORDS.index(word) for word in caption.split()]
    return (*found, *[PAD] * (LENGTH - len(found)))


def _measures(pictures: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """Return brightness and spread, sideways and upright, of what each picture shows."""
    total = pictures.sum((1, 2), keepdims=True)
    shares = pictures / total
    shown = (pictures > BACKGROUND).sum((1, 2))
    found = {"shade": total[:, 0, 0] / shown}
    for name, at in zip(("height", "width"), np.mgrid[:28, :28], strict=True):
        centre = (shares * at).sum((1, 2), keepdims=True)
        found[name] = np.sqrt((shares * (at - centre) ** 2).sum((1, 2)))
    return {name: found[name] for name in BOUNDS}


@cache
def _sentence(clothes: int, shade: int, width: int, height: int) -> str:
    """Return what says this, in words that depend on all of it."""
    rng = random.Random(f"{clothes} {shade} {width} {height}")
    template = rng.choice(TEMPLATES)
    return template.format(
        clothes=rng.choice(CLOTHES[clothes]),
        shade=rng.choice(SHADE[shade]),
        width=rng.choice(WIDTH[width]),
        height=rng.choice(HEIGHT[height]),
    )
