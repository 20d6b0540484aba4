"""Whole models measured end to end, to learn what a graph adds to its layers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from autoprune.core.target import Target
from autoprune.cost.latency.layers import KeptLevels
from autoprune.cost.latency.observations import Comparison
from autoprune.cost.latency.runtimes import Runtime, Session
from autoprune.cost.latency.runtimes.torch_session import threads_restored
from autoprune.cost.latency.timing import compare
from autoprune.surgery.apply import apply
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan

_TRIES = 20  # draws for each policy that is wanted


@dataclass(frozen=True)
class EndToEnd:
    """Measures policies of one model against the dense model.

    Args:
        model: The dense model.
        plan: Its plan.
        inputs: Arguments of one forward.
        runtime: What runs it.
        target: How.
        session: The dense model, loaded.
    """

    model: nn.Module
    plan: Plan
    inputs: Inputs
    runtime: Runtime
    target: Target
    session: Session

    @classmethod
    @contextmanager
    def open(
        cls, model: nn.Module, plan: Plan, inputs: Inputs, runtime: Runtime, target: Target
    ) -> Iterator["EndToEnd"]:
        """Load the dense model for as long as policies are to be compared with it.

        Raises:
            ModelError: If the runtime cannot run it.
        """
        before = torch.get_num_threads()
        with runtime.open(model, inputs, target) as session:
            torch.set_num_threads(before)  # only measuring runs on the threads of the target
            yield cls(model, plan, inputs, runtime, target, session)

    def cut(self, kept: Mapping[str, int]) -> nn.Module:
        """Return a model that keeps so many atoms of each unit; latency does not ask which."""
        units = self.plan.units
        gone = {
            name: np.arange(kept[name], unit.atoms)
            for name, unit in units.items()
            if kept.get(name, unit.atoms) < unit.atoms
        }
        return apply(self.model, self.plan, gone)

    def compare(self, pruned: nn.Module, limit_s: float) -> Comparison:
        """Return how a pruned model compares with the dense one, run in pairs.

        Raises:
            ModelError: If the runtime cannot run it.
        """
        with (
            threads_restored(),
            self.runtime.open(pruned, self.inputs, self.target) as other,
        ):
            return compare(self.session, other, limit_s=limit_s)


def varied(kept: KeptLevels, count: int, rng: np.random.Generator) -> list[dict[str, int]]:
    """Return policies that differ in size and in form: dense, smallest, uniform and random ones.

    Args:
        kept: Atoms kept at each level of each unit, falling.
        count: How many, at least 2.
        rng: Chooses the random ones.
    """
    ends = [{unit: at[0] for unit, at in kept.items()}, {u: at[-1] for u, at in kept.items()}]
    drawn = [
        {unit: at[_level(len(at), depth, spread, rng)] for unit, at in kept.items()}
        for depth, spread in zip(
            np.linspace(0.15, 0.85, count - 2), np.resize((0.0, 0.35), count - 2), strict=True
        )
    ]
    return [*ends, *drawn]


def random_policies(
    kept: KeptLevels,
    count: int,
    rng: np.random.Generator,
    seen: Callable[[Mapping[str, int]], bool] = lambda policy: False,
) -> list[dict[str, int]]:
    """Return random policies of every size, none twice; fewer than asked for if there are few.

    Args:
        kept: Atoms kept at each level of each unit, falling.
        count: How many.
        rng: Chooses them.
        seen: Tells which policies are not wanted.
    """
    found: dict[tuple[int, ...], dict[str, int]] = {}
    for _ in range(_TRIES * count):
        depth, spread = rng.uniform(0, 1), rng.uniform(0, 0.5)
        policy = {unit: at[_level(len(at), depth, spread, rng)] for unit, at in kept.items()}
        if not seen(policy):
            found.setdefault(tuple(policy.values()), policy)
        if len(found) == count:
            break
    return list(found.values())


def _level(levels: int, depth: float, spread: float, rng: np.random.Generator) -> int:
    """Return a level at a share ``depth`` of the way to the last, give or take ``spread``."""
    if levels == 2:
        return int(rng.random() < depth * (spread > 0) / 2)  # blocks: some, and never in half
    place = depth + spread * rng.uniform(-1, 1)
    return int(np.clip(round(place * (levels - 1)), 0, levels - 1))
