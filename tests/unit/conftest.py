"""A small network and data for the rooms that need a model."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import SearchSpace, UnitSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

CLASSES, SIDE = 3, 6


class Net(nn.Module):
    """Stem, one residual block, head: a coupled unit and a free one, batch norms in both."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 12, 3, padding=1)
        self.inner_norm = nn.BatchNorm2d(12)
        self.outer = nn.Conv2d(12, 8, 3, padding=1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.outer(torch.relu(self.inner_norm(self.inner(x)))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def batches(seed: int, count: int = 3, samples: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Return batches whose images get brighter with the class."""
    rng = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        classes = torch.randint(CLASSES, (samples,), generator=rng)
        noise = torch.randn(samples, 1, SIDE, SIDE, generator=rng)
        found.append((noise + classes.reshape(-1, 1, 1, 1), classes))
    return found


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net().eval()


@pytest.fixture
def task() -> Classification:
    return Classification({"train": batches(1), "search": batches(2), "test": batches(3)})


@pytest.fixture
def plan(net: nn.Module, task: Classification) -> Plan:
    images, _ = next(task.batches("search"))
    return discover(net, [images[:2]], np.random.default_rng(0))


@pytest.fixture
def cost(net: nn.Module, plan: Plan) -> CostModel:
    return CostModel(net, plan)


@pytest.fixture
def spaces(plan: Plan) -> dict[str, UnitSpace]:
    given = {"methods": ["channel.l1", "channel.l2"], "sparsities": [0.25, 0.5, 0.75]}
    space = SearchSpace.model_validate(given)
    return space.resolve({name: unit.atoms for name, unit in plan.units.items()})


@pytest.fixture
def scorer_of(
    net: nn.Module, plan: Plan, cost: CostModel, task: Classification
) -> Callable[[Recovery], Scorer]:
    """Return what makes a scorer of the network by the L1 norm of its channels."""
    importance = rank_atoms(net, plan, task, ["channel.l1"], 1, "cpu")
    return lambda recovery: Scorer(net, plan, importance, cost, task, recovery, 0, "cpu")


@pytest.fixture
def shuffling(scorer: Scorer) -> Iterator[Scorer]:
    """Return a module's scorer with batches drawn at random."""
    images, classes = zip(*scorer.task.batches("train"), strict=True)
    data = TensorDataset(torch.cat(images), torch.cat(classes))
    loaders = {split: DataLoader(data, 8, shuffle=True) for split in ("train", "search", "test")}
    with torch.random.fork_rng([]):
        yield replace(scorer, task=Classification(loaders))


@pytest.fixture
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from telling of each trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def evaluations_by(tmp_path: Path) -> Iterator[Callable[[Scorer], Evaluations]]:
    """Return what opens the evaluations of a scorer, all in one new database."""
    with Database.open(sqlite_url(tmp_path / "autoprune.db")) as database:
        run_id = database.start_run("run", {}, "model", "data")
        yield lambda scorer: Evaluations(
            database=database,
            run_id=run_id,
            scorer=scorer,
            model_fp="model",
            data_fp="data",
            folder=tmp_path,
        )
