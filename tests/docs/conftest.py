"""A project such as the pages speak of: a small trained network, small data, a search file."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

NETWORK = Path(__file__).parents[2] / "examples" / "digits" / "model.py"
BUILD = "\n\ndef build() -> nn.Module:\n    return ResNet(8, 1, 10)\n"
DATA = """\
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

PLACES = {"train": slice(0, 600), "search": slice(600, 900), "test": slice(900, 1200)}


def loaders():
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    classes = torch.tensor(digits.target)
    return {
        split: DataLoader(TensorDataset(images[place], classes[place]), 50, split == "train")
        for split, place in PLACES.items()
    }
"""
SEARCH: dict[str, Any] = {
    "model": "model.py:build",
    "checkpoint": "weights.safetensors",
    "data": "data.py:loaders",
    "budget": {"macs": "50%"},
}
LITTLE = {
    "trials": 6,
    "onnx": False,
    "runner": "file:./runner.yaml",
    "recovery": {"score_steps": 4, "recover_steps": 12, "finalists": 2, "calibration_batches": 2},
}


@pytest.fixture(scope="session")
def little() -> dict[str, Any]:
    """Return the keys by which a search file asks for little."""
    return LITTLE


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the project; nobody writes into it."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "data.py").write_text(DATA)
    (folder / "model.py").write_text(NETWORK.read_text(encoding="utf-8") + BUILD)
    (folder / "search.yaml").write_text(yaml.safe_dump(SEARCH | LITTLE))
    (folder / "runner.yaml").write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    save_file(_trained(folder), folder / "weights.safetensors")
    return folder


@pytest.fixture
def project(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the project, work there, and import from there."""
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for name in ("model", "data", "largest"):  # of other projects
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def _trained(folder: Path) -> dict[str, torch.Tensor]:
    """Return weights of the project's network after a few epochs."""
    network: dict[str, Any] = {"__name__": "network"}
    exec((folder / "model.py").read_text(), network)
    data: dict[str, Any] = {"__name__": "data"}
    exec(DATA, data)
    torch.manual_seed(0)
    model, batches = network["build"](), data["loaders"]()["train"]
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(6):
        for images, classes in batches:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images), classes).backward()
            optimiser.step()
    weights: dict[str, torch.Tensor] = model.state_dict()
    return weights
