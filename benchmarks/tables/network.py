"""The dense network of a table: trained, traced, priced, and what scores its policies."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.latency.tables import allowed
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import SearchSpace, UnitSpace
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification
from benchmarks.images import Splits
from benchmarks.tables.recipes import Recipe

PEAK_LEARNING_RATE = 0.1


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network with its plan and what is feasible; the weights matter to neither.

    Args:
        recipe: What it is made by.
        model: The dense network, in eval mode.
        plan: Its plan.
        projection: What may be chosen and what is feasible.
    """

    recipe: Recipe
    model: nn.Module
    plan: Plan
    projection: Projection

    @classmethod
    def of(cls, recipe: Recipe) -> "Network":
        """Build it, untrained."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = recipe.network().eval()
            images = torch.randn(2, 1, recipe.side, recipe.side)
        plan = discover(model, [images], np.random.default_rng(0))
        given = {"methods": recipe.methods, "sparsities": recipe.sparsities}
        spaces = allowed(SearchSpace.model_validate(given), plan)
        budget = Budget.parse(recipe.budget)
        projection = Projection(CostModel(model, plan), spaces, budget)
        return cls(recipe=recipe, model=model, plan=plan, projection=projection)

    @property
    def spaces(self) -> dict[str, UnitSpace]:
        """What may be chosen, by unit."""
        return dict(self.projection.spaces)

    def scorer(self, splits: Splits) -> Scorer:
        """Return what scores policies with the recipe's first seed; ranks the atoms."""
        task, recovery, seed = Classification(splits), self.recipe.recovery, self.recipe.seeds[0]
        batches, methods = recovery.calibration_batches, self.recipe.methods
        with isolated(seed, task.loader("train")):
            ranked = rank_atoms(self.model, self.plan, task, methods, batches, "cpu", seed)
        return Scorer(
            model=self.model,
            plan=self.plan,
            importance=ranked,
            cost=self.projection.cost,
            task=task,
            recovery=recovery,
            seed=seed,
            device="cpu",
        )


def train(model: nn.Module, splits: Splits, epochs: int) -> None:
    """Train ``model`` in place, always alike; it is in eval mode afterwards."""
    batches = splits["train"]
    per_epoch = -(-len(batches.labels) // batches.size)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, epochs=epochs, steps_per_epoch=per_epoch
    )
    model.train()
    with isolated(0):
        for _ in range(epochs):
            for images, labels in batches:
                loss = cross_entropy(model(images), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    model.eval()
