"""The model and the data of the searches that are disturbed; they are loaded by import strings."""

import hashlib
import inspect
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from autoprune._resources import cache_dir
from benchmarks.images import Splits, digits
from benchmarks.tables import network, recipes

EPOCHS = 4


def net() -> nn.Module:
    """Return a small residual network for images of ``1 x 8 x 8``, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return recipes.residual(12)


def loaders() -> Splits:
    """Return handwritten digits."""
    return digits(batch_size=128)


def weights() -> Path:
    """Return the file of the trained weights; they are trained once and kept in the cache."""
    sources = "".join(
        inspect.getsource(one) for one in (net, loaders, network.train, recipes.residual)
    )
    recipe = hashlib.sha256(f"{EPOCHS} {sources}".encode()).hexdigest()[:12]
    path = cache_dir() / f"faults-{recipe}.safetensors"
    if not path.exists():
        model = net()
        network.train(model, loaders(), EPOCHS)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(model.state_dict(), unfinished)
        unfinished.replace(path)
    return path
