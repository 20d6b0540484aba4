"""Trains the detector of this example once and keeps its weights in the cache.

``python examples/tree_crowns/train.py`` does it by hand and tells the average precision.
"""

import hashlib
import os
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader

from autoprune import Detection
from autoprune._resources import cache_dir

from data import Sample, loaders
from fetch import mobilenet_weights
from model import centre_net, detections, loss

EPOCHS = 20  # of 20 batches
PEAK_LEARNING_RATE = 2e-3
AP = 0.4  # least overlap of a crown that was found

talk = Console(stderr=True)


def checkpoint() -> Path:
    """Return the file with the trained weights; train first if there is none of this recipe."""
    sources = (Path(__file__).with_name(name) for name in ("model.py", "data.py", "train.py"))
    recipe = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    path = cache_dir() / f"tree-crowns-{recipe[:12]}.safetensors"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(train().state_dict(), unfinished)
        unfinished.replace(path)  # in one step: nobody ever sees half a file
    return path


def train() -> nn.Module:
    """Return the model after `EPOCHS` epochs; torch's global random state is left as it was."""
    batches: DataLoader[Sample] = loaders()["train"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = centre_net()
        _load_backbone(model)
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=len(batches)
        )
        model.train()
        for _ in track(range(EPOCHS), "Training the detector of tree crowns, once", console=talk):
            for images, targets in batches:
                found = loss(model(images), targets)
                optimiser.zero_grad()
                found.backward()
                optimiser.step()
                schedule.step()
    return model.eval()


def _load_backbone(model: nn.Module) -> None:
    weights = torch.load(mobilenet_weights(), weights_only=True)
    own = model.state_dict()
    taken = {f"backbone.{name.removeprefix('features.')}": w for name, w in weights.items()}
    model.load_state_dict(own | {name: w for name, w in taken.items() if name in own})


@torch.no_grad()
def average_precision(model: nn.Module, split: str) -> float:
    """Return the average precision of the boxes that overlap by `AP` at least."""
    task = Detection(loaders(), iou=AP, loss=loss, detections=detections)
    metric = task.metric()
    for batch in task.batches(split):  # type: ignore[arg-type]
        metric.update(task.outputs(model, batch), batch)
    return metric.compute()


if __name__ == "__main__":
    start = time.monotonic()
    trained = centre_net()
    trained.load_state_dict(load_file(checkpoint()))
    talk.print(f"ready after {time.monotonic() - start:.0f} s")
    for name in ("search", "test"):
        talk.print(f"AP@{AP} on the {name} split: {average_precision(trained.eval(), name):.2%}")
