"""Samplers by name."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler

from autoprune.agent.encoding import Floats, Params
from autoprune.agent.projection import Projection
from autoprune.agent.samplers.allocated import AllocationSampler, SpdySampler
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.projected import ProjectedSampler, tpe
from autoprune.core.registry import Registry

DEFAULT = "budgeted"


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a sampler starts from.

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first.
        errors: What is given up, as for `Pool`; None where nothing was measured.
    """

    projection: Projection
    seed: int
    anchors: Sequence[Params] = ()
    errors: Floats | None = None


SAMPLERS: Registry[Callable[[Start], PolicySampler]] = Registry("sampler")


def make_sampler(name: str, start: Start) -> PolicySampler:
    """Return the sampler called ``name``.

    Raises:
        ConfigError: If there is none.
    """
    return SAMPLERS.get(name)(start)


def _inner(make: Callable[[int], BaseSampler]) -> Callable[[Start], PolicySampler]:
    return lambda s: ProjectedSampler(s.projection, s.seed, s.anchors, make)


def _cmaes(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return CmaEsSampler(seed=seed, warn_independent_sampling=False)


SAMPLERS.add("budgeted", lambda s: BudgetedSampler(s.projection, s.seed, s.anchors, s.errors))
SAMPLERS.add("spdy", lambda s: SpdySampler(s.projection, s.seed, s.anchors, s.errors))
SAMPLERS.add("uniform", lambda s: AllocationSampler(s.projection, s.seed, "uniform", s.errors))
SAMPLERS.add("minimax", lambda s: AllocationSampler(s.projection, s.seed, "minimax", s.errors))
SAMPLERS.add("tpe", _inner(tpe))
SAMPLERS.add("cmaes", _inner(_cmaes))
SAMPLERS.add("nsga2", _inner(lambda seed: NSGAIISampler(seed=seed)))
SAMPLERS.add("random", _inner(lambda seed: RandomSampler(seed=seed)))
USE_ERRORS = frozenset({"budgeted", "spdy", "minimax"})
