"""What is handed to the public functions in place of a model or a task is named, not dug into."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import autoprune
from autoprune.core.fingerprint import MAX_SEED
from autoprune.errors import ConfigError, ModelError
from autoprune.units_api import check_space


def _search(model: Any, task: Any, folder: Path) -> None:
    autoprune.search(model, task=task, budget="macs=50%", out=folder / "run")


def _units(seed: int) -> None:
    autoprune.units(nn.Linear(2, 2), (torch.zeros(2, 2),), seed=seed)


def _check_space(seed: int) -> None:
    check_space("default", nn.Linear(2, 2), (torch.zeros(2, 2),), seed=seed)


def _latency(seed: int) -> None:
    autoprune.build_latency(nn.Linear(2, 2), (torch.zeros(2, 2),), targets="pytorch", seed=seed)


def _draw(seed: int) -> None:
    autoprune.check_latency(nn.Linear(2, 2), (torch.zeros(2, 2),), targets="pytorch", draw=seed)


@pytest.mark.parametrize("function", [_units, _check_space, _latency, _draw])
@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 0.5])
def test_what_is_no_seed_is_refused(function: Any, seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"^(seed|draw) must be"):
        function(seed)


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
