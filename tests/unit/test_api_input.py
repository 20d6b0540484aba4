"""What is handed to the public functions in place of a model or a task is named, not dug into."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import autoprune
from autoprune.errors import ConfigError, ModelError


def _search(model: Any, task: Any, folder: Path) -> None:
    autoprune.search(model, task=task, budget="macs=50%", out=folder / "run")


def _profile(model: Any, task: Any, folder: Path) -> None:
    autoprune.profile(model, task=task, database=folder / "shared.db")


@pytest.mark.parametrize("function", [_search, _profile])
def test_loaders_in_place_of_a_task(function: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task must be an object like autoprune"):
        function(nn.Linear(2, 2), {"train": []}, tmp_path)


@pytest.mark.parametrize("function", [_search, _profile])
def test_a_builder_in_place_of_a_model(function: Any, tmp_path: Path) -> None:
    def build() -> nn.Module:
        return nn.Linear(2, 2)

    batches = [[(torch.zeros(2, 2) + one, torch.tensor([0, 1]))] for one in range(3)]
    data = dict(zip(("train", "search", "test"), batches, strict=True))
    with pytest.raises(ModelError, match=r"Got 'build' of type function.*call it first"):
        function(build, autoprune.Classification(data), tmp_path)
