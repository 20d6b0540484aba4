"""Trains the model of this example once and keeps its weights in the cache.

``python examples/captions/train.py`` does it by hand and tells the recall.
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
from torch.utils.data import DataLoader

import autoprune
from autoprune._resources import cache_dir

from data import loaders
from model import two_towers

EPOCHS = 12
PEAK_LEARNING_RATE = 2e-3

Loader = DataLoader[tuple[Tensor, ...]]  # images, tokens

talk = Console(stderr=True)


def checkpoint() -> Path:
    """Return the file with the trained weights; train first if there is none of this recipe."""
    sources = (Path(__file__).with_name(name) for name in ("model.py", "data.py", "train.py"))
    recipe = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    path = cache_dir() / f"captions-{recipe[:12]}.safetensors"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(train().state_dict(), unfinished)
        unfinished.replace(path)  # in one step: nobody ever sees half a file
    return path


def train() -> nn.Module:
    """Return the model after `EPOCHS` epochs; torch's global random state is left as it was."""
    task = autoprune.Contrastive(loaders())
    batches: Loader = task.loader("train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = two_towers()
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=len(batches)
    )
    model.train()
    for _ in track(range(EPOCHS), "Training the captions model, once", console=talk):
        for batch in batches:
            loss = task.loss(task.outputs(model, batch), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model


@torch.no_grad()
def recall(model: nn.Module, batches: Loader) -> float:
    """Return recall@1 of images by captions and captions by images, their mean."""
    task = autoprune.Contrastive(dict.fromkeys(("train", "search", "test"), batches))
    metric = task.metric()
    model.eval()
    for batch in batches:
        metric.update(task.outputs(model, batch), batch)
    return metric.compute()


if __name__ == "__main__":
    start = time.monotonic()
    trained: nn.Module = two_towers()
    trained.load_state_dict(load_file(checkpoint()))
    talk.print(f"ready after {time.monotonic() - start:.0f} s")
    for name, split in loaders().items():
        talk.print(f"recall@1 on the {name} split: {recall(trained, split):.2%}")
