"""One search of a small network, in a process of its own: when each evaluation came to its end."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import autoprune
from autoprune.core.progress import Progress

_WIDTHS = (16, 32, 32, 48)
_CLASSES, _PIXELS = 10, 16


def network() -> nn.Module:
    """Return a network of four convolutions, random but for its seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inner, outer in zip((3, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(inner, outer, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outer), nn.ReLU()]
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_WIDTHS[-1], _CLASSES)]
        return nn.Sequential(*layers, *pool)


def loaders() -> Mapping[str, DataLoader[Any]]:
    """Return images that are told apart by a colour and a brightness."""
    sizes = {"train": 640, "search": 320, "test": 64}
    return {split: _loader(split, size) for split, size in sizes.items()}


def _loader(split: str, size: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(len(split))
    classes = torch.randint(_CLASSES, (size,), generator=generator)
    images = torch.randn(size, 3, _PIXELS, _PIXELS, generator=generator)
    images += classes.view(-1, 1, 1, 1) / _CLASSES
    return DataLoader(TensorDataset(images, classes), batch_size=32, shuffle=split == "train")


def search(kind: str, workers: int, trials: int, folder: Path) -> list[tuple[float, int]]:
    """Search; return seconds, and evaluations that were done by then.

    Args:
        kind: Of runner.
        workers: How many.
        trials: Evaluations.
        folder: Where the run, and all that it shares with others, may lie.
    """
    runner = folder / "runner.yaml"
    runner.write_text(f"kind: {kind}\ndevice: cpu\nthreads: 1\n", encoding="utf-8")
    times: list[tuple[float, int]] = []

    def note(event: Progress) -> None:
        if event.stage == "search":
            times.append((time.monotonic(), event.done))

    autoprune.search(
        network(),
        task=autoprune.Classification(loaders()),
        budget="macs=50%",
        trials=trials,
        onnx=False,
        out=folder / "run",
        database=str(folder / "shared.db"),
        recovery=autoprune.Recovery(recover_steps=1, finalists=1, stages=()),
        sensitivity=False,
        runner=f"file:{runner}",
        workers=workers,
        progress=note,
    )
    return times


def main(kind: str, workers: str, trials: str, folder: str) -> None:
    """Search, and print the times as JSON last."""
    torch.set_num_threads(1)
    print(json.dumps(search(kind, int(workers), int(trials), Path(folder))))


if __name__ == "__main__":
    main(*sys.argv[1:])
