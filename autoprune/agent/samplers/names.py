"""Samplers by name."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler

from autoprune.agent.feasible.encoding import Params
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.allocated import AllocationSampler, Rule, SpdySampler
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.cmaes import CmaEs
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.projected import ProjectedSampler, tpe
from autoprune.core.arrays import Floats
from autoprune.core.ledger import ROLLBACK
from autoprune.core.registry import Registry
from autoprune.errors import ConfigError

DEFAULT = "budgeted"
PLUG_INS = "autoprune.samplers"
_SPDY = (
    "Frantar and Alistarh 2022, SPDY: Accurate Pruning with Speedup Guarantees, arXiv:2201.13096. "
    "Ours allocates by exact costs, which depend on the units on both sides of a layer."
)
_IMPROVEMENT = (
    "Jones et al. 1998, Efficient Global Optimization of Expensive Black-Box Functions, "
    "doi:10.1023/A:1008306431147, for expected improvement; ours ranks a pool by it."
)
_TPE = "Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization, NIPS 24."
_CMA = "Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772."
_NSGA = (
    "Deb et al. 2002, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, "
    "doi:10.1109/4235.996017."
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a sampler starts from.

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first.
        errors: What is given up, as for `Pool`; None where nothing was measured.
        earlier: What earlier runs found, in rows of this one.
        rollback: Share of proposals, at most, that are alternatives to decisions of the best
            policy.
    """

    projection: Projection
    seed: int
    anchors: Sequence[Params] = ()
    errors: Floats | None = None
    earlier: Sequence[Known] = ()
    rollback: float = ROLLBACK


@dataclass(frozen=True)
class Kind:
    """A sampler that can be chosen by name.

    Other packages add one by an entry point of the group ``autoprune.samplers`` whose name is the
    sampler's and which leads to a `Kind`; `autoprune.testing.samplers` tests it.

    Args:
        make: Makes one.
        uses_errors: Whether it wants the sensitivity table.
        along_fronts: Whether several of them, each inside a limit of its own, can share one study
            whose trials have two objectives, score and cost.
        rolls_back: Whether it proposes alternatives to decisions.
        paper: Where the idea comes from, and how this one differs; empty where nobody wrote it.
    """

    make: Callable[[Start], PolicySampler]
    uses_errors: bool = False
    along_fronts: bool = False
    rolls_back: bool = False
    paper: str = ""


SAMPLERS: Registry[Kind] = Registry("sampler", PLUG_INS, ("make", "uses_errors"))


def make_sampler(name: str, start: Start) -> PolicySampler:
    """Return the sampler called ``name``.

    Raises:
        ConfigError: If there is none.
    """
    return SAMPLERS.get(name).make(start)


def budgeted(**options: Any) -> Kind:
    """Return our sampler, with options of `BudgetedSampler`."""

    def make(s: Start) -> PolicySampler:
        given = {"earlier": s.earlier, "rollback": s.rollback, **options}
        return BudgetedSampler(s.projection, s.seed, s.anchors, s.errors, **given)

    return Kind(make, True, True, True, paper=f"{_SPDY} {_IMPROVEMENT}")


def _allocation(rule: Rule, uses_errors: bool) -> Kind:
    return Kind(
        lambda s: AllocationSampler(s.projection, s.seed, rule, s.errors), uses_errors, True
    )


def _inner(
    make: Callable[[int], BaseSampler], along_fronts: bool = True, *, paper: str = ""
) -> Kind:
    return Kind(
        lambda s: ProjectedSampler(s.projection, s.seed, s.anchors, make),
        along_fronts=along_fronts,
        paper=paper and f"{paper} Ours brings what it wants to the budget.",
    )


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _cmaes(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return CmaEs(seed)


def check_along_fronts(name: str) -> None:
    """Refuse a sampler that cannot search at several limits in one study.

    Raises:
        ConfigError: If it cannot, or there is none of that name.
    """
    if not SAMPLERS.get(name).along_fronts:
        able = _ours(lambda kind: kind.along_fronts)
        raise ConfigError(
            f"The sampler {name!r} searches inside one budget, not at several limits, as along a "
            f"front or for the smallest model within a drop. Choose one of {', '.join(able)}, or "
            "search once for each limit."
        )


def check_rollback(name: str, share: float) -> None:
    """Refuse a share of alternatives that somebody chose for a sampler which proposes none.

    Raises:
        ConfigError: If it is refused, or there is no such sampler.
    """
    if not SAMPLERS.get(name).rolls_back and share not in (0, ROLLBACK):
        able = _ours(lambda kind: kind.rolls_back)
        raise ConfigError(
            f"rollback is {share:g}, but the sampler {name!r} proposes no alternatives to "
            f"decisions. Leave it out, or choose the sampler {' or '.join(able)}."
        )


def _ours(able: Callable[[Kind], bool]) -> list[str]:
    """Return the built-in samplers that are able to do something."""
    names = (one for one in SAMPLERS if SAMPLERS.origin(one) == "autoprune")
    return [one for one in names if able(SAMPLERS.get(one))]


SAMPLERS.add("budgeted", budgeted())
SAMPLERS.add(
    "spdy",
    Kind(lambda s: SpdySampler(s.projection, s.seed, s.anchors, s.errors), True, paper=_SPDY),
)
SAMPLERS.add("uniform", _allocation("uniform", False))
SAMPLERS.add("minimax", _allocation("minimax", True))
SAMPLERS.add("tpe", _inner(tpe, paper=_TPE))
SAMPLERS.add("cmaes", _inner(_cmaes, along_fronts=False, paper=_CMA))
SAMPLERS.add("nsga2", _inner(_nsga2, paper=_NSGA))
SAMPLERS.add("random", _inner(_random))
