"""Policies inside a budget: drawn at random, plain, and found by short searches."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import TrialState

from autoprune.agent.feasible.encoding import distributions, levels_of, policy_of
from autoprune.agent.samplers.anchors import anchors, coupled
from autoprune.agent.samplers.projected import ProjectedSampler
from autoprune.core.policy import Policy
from autoprune.evaluation.pruning.totals import Totals
from autoprune.methods import find_method
from autoprune.surgery.tensors import state_tensors
from benchmarks.group import Group

Params = dict[str, Any]
SEARCH_TRIALS = 30
WIDE = 3  # levels of coupled units are drawn from this part of them


def random(group: Group, seed: int, count: int) -> list[Policy]:
    """Return random policies; every second one keeps units that couple several layers wide."""
    rng = np.random.default_rng([7, seed])
    return [_projected(group, _drawn(group, rng, wide=at % 2 == 1)) for at in range(count)]


def plain(group: Group, seed: int, count: int) -> list[Policy]:
    """Return uniform allocations, and those of one ranking of all channels by their L1 norm."""
    wishes = [*_ranked_globally(group), *anchors(group.plan, group.projection.spaces)]
    return [_projected(group, wish) for wish in wishes][:count]


def searched(group: Group, steps: int, count: int) -> list[Policy]:
    """Return the best of a search by TPE that scores by the loss after ``steps``."""
    spaces = group.projection.spaces
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=ProjectedSampler(group.projection, steps))
    for _ in range(SEARCH_TRIALS):
        trial = study.ask(distributions(spaces))
        candidate = group.scorer.candidate(policy_of(trial.params, spaces), steps)
        study.tell(trial, candidate.reach(steps).loss)
    ended = study.get_trials(states=(TrialState.COMPLETE,))
    best = sorted(ended, key=lambda trial: trial.value or 0.0)
    return [policy_of(trial.params, spaces) for trial in best[:count]]


Source = Callable[[Group, int, int], list[Policy]]
SOURCES: Mapping[str, Source] = {"random": random, "plain": plain, "searched": searched}


def _projected(group: Group, wish: Params) -> Policy:
    spaces = group.projection.spaces
    levels = group.projection.project(levels_of(wish, spaces))
    return policy_of(wish | {f"level:{unit}": at for unit, at in levels.items()}, spaces)


def _drawn(group: Group, rng: np.random.Generator, wide: bool) -> Params:
    params: Params = {}
    for unit, space in group.projection.spaces.items():
        spared = wide and coupled(group.plan, unit)
        levels = -(-space.levels // WIDE) if spared else space.levels
        params[f"level:{unit}"] = int(rng.integers(levels))
        params[f"method:{unit}"] = str(rng.choice(space.methods))
    return params


def _ranked_globally(group: Group) -> Iterator[Params]:
    """Yield what one threshold for all channels gives, relative to a unit's mean and highest."""
    spaces = group.projection.spaces
    method = find_method("channel.l1")
    totals = Totals(group.plan, state_tensors(group.scorer.model), 0)
    totals.add({method.key: method}, {})
    norms = {unit: score.cpu().numpy() for unit, score in totals.of(method.key).items()}
    for scale in (np.mean, np.max):
        scaled = {unit: norms[unit] / scale(norms[unit]) for unit in spaces}
        thresholds = np.quantile(np.concatenate(list(scaled.values())), np.linspace(0, 1, 101))
        wishes = (_above(group, scaled, threshold) for threshold in thresholds)
        found = next(w for w in wishes if group.projection.feasible(levels_of(w, spaces)))
        yield found


def _above(
    group: Group, scaled: Mapping[str, npt.NDArray[np.float64]], threshold: float
) -> Params:
    params: Params = {}
    for unit, space in group.projection.spaces.items():
        left = int((scaled[unit] >= threshold).sum())
        level = min(range(space.levels), key=lambda at: abs(space.kept[at] - left))
        params |= {f"level:{unit}": level, f"method:{unit}": "channel.l1"}
    return params
