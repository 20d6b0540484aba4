"""Models of torchvision, halved, recovered and run in onnxruntime."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection, segmentation

import autoprune
from autoprune.core.imports import load_object
from autoprune.tasks import Task
from benchmarks.images import EXAMPLES

RECOVERY = autoprune.Recovery(
    score_steps=0, recover_steps=60, finalists=1, calibration_batches=4, learning_rate=0.01
)
BATCHES = {"train": 60, "search": 4, "test": 4}
Labelled = tuple[list[Tensor], list[dict[str, Tensor]]]


def exported(name: str) -> dict[str, Any]:
    """Return how far a pruned model's outputs in onnxruntime are from its own.

    It is trained for some steps. Where scores are next to equal, rounding decides which boxes are
    suppressed, so each choice is made on the model's own numbers if outputs are apart.

    Args:
        name: ``ssdlite`` or ``lraspp``.

    Returns:
        ``difference``, relative to the largest output or number chosen by, and ``macs_share``.

    Raises:
        VerificationError: If they differ too much.
    """
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model, task = {"ssdlite": _ssdlite, "lraspp": _lraspp}[name]()
        found = autoprune.search(
            model,
            task=task,
            budget="macs=50%",
            trials=2,
            sensitivity=False,
            recovery=RECOVERY,
            out=Path(folder) / "run",
            database=str(Path(folder) / "shared.db"),
            progress=lambda event: None,
        ).result
    share = found.pruned.macs / found.dense.macs
    return {"difference": found.checks.onnx_max_diff, "macs_share": share}


def _ssdlite() -> tuple[nn.Module, Task]:
    """Return SSDlite for tree crowns, of which it has class 1."""
    loaders = load_object("data.py:loaders", base=EXAMPLES / "tree_crowns")(batch_size=4)
    splits = {
        split: [_as_torchvision(batch) for batch in _some(loaders[split], count)]
        for split, count in BATCHES.items()
    }
    model = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=2
    )
    return model, autoprune.Detection(splits, iou=0.4)


def _as_torchvision(batch: tuple[Tensor, list[dict[str, Tensor]]]) -> Labelled:
    images, targets = batch
    return list(images), [t | {"labels": torch.ones_like(t["labels"])} for t in targets]


def _lraspp() -> tuple[nn.Module, Task]:
    """Return LR-ASPP for composed scenes."""
    loaders = load_object("data.py:loaders", base=EXAMPLES / "scenes")()
    splits = {split: _some(loaders[split], count) for split, count in BATCHES.items()}
    model = segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    return model, autoprune.Segmentation(splits)


def _some(loader: Any, count: int) -> list[Any]:
    """Return the first batches of a loader, going round if it has fewer."""
    found: list[Any] = []
    while len(found) < count:
        found += [batch for _, batch in zip(range(count - len(found)), loader, strict=False)]
    return found
