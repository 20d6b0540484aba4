"""Trains the model of this example once and keeps its weights in the cache.

``python examples/scenes/train.py`` does it by hand and tells the mean IoU.
"""

import hashlib
import os
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from autoprune._resources import cache_dir
from autoprune.tasks import Segmentation

from data import loaders
from model import pyramid

EPOCHS = 10
PEAK_LEARNING_RATE = 0.1
SOURCES = ("model.py", "compose.py", "data.py", "train.py")

Loader = DataLoader[tuple[Tensor, Tensor]]  # images, masks

talk = Console(stderr=True)


def checkpoint() -> Path:
    """Return the file with the trained weights; train first if there is none of this recipe."""
    sources = (Path(__file__).with_name(name) for name in SOURCES)
    recipe = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    path = cache_dir() / f"scenes-{recipe[:12]}.safetensors"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(train().state_dict(), unfinished)
        unfinished.replace(path)  # in one step: nobody ever sees half a file
    return path


def train() -> nn.Module:
    """Return the model after `EPOCHS` epochs; torch's global random state is left as it was."""
    batches: Loader = loaders()["train"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = pyramid()
    model.to(memory_format=torch.channels_last)  # takes less time on CPUs
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=len(batches)
    )
    model.train()
    for _ in track(range(EPOCHS), "Training the scenes model, once", console=talk):
        for images, masks in batches:
            loss = cross_entropy(model(images), masks)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def mean_iou(model: nn.Module, splits: dict[str, Loader], split: str) -> float:
    """Return the mean over classes of how far predicted and true masks overlap."""
    metric = Segmentation(splits).metric()
    model.eval()
    for batch in splits[split]:
        metric.update(model(batch[0]), batch)
    return metric.compute()


if __name__ == "__main__":
    start = time.monotonic()
    trained: nn.Module = pyramid()
    trained.load_state_dict(load_file(checkpoint()))
    talk.print(f"ready after {time.monotonic() - start:.0f} s")
    splits = loaders()
    for name in splits:
        talk.print(f"mean IoU on the {name} split: {mean_iou(trained, splits, name):.2%}")
