"""Any Optuna sampler, made to propose only policies that meet the budget."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.encoding import distributions, levels_of, policy_of
from autoprune.agent.projection import Projection
from autoprune.core.fingerprint import seed_from
from autoprune.storage.study import ABANDONED

Params = dict[str, Any]
_TRIES = 64


def tpe(seed: int) -> BaseSampler:
    """Return Optuna's multivariate TPE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True)


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that came to an end by themselves, oldest first."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    ended = study.get_trials(deepcopy=False, states=states)
    return [trial for trial in ended if trial.user_attrs.get("outcome") != ABANDONED]


class ProjectedSampler(BaseSampler):
    """Projects what another sampler proposes onto the budget, and proposes nothing twice.

    A proposal is a function of the seed and the finished trials alone, so a resumed search goes
    on as if it had never stopped. Rejecting infeasible trials instead would break samplers
    (Optuna issues 2969, 4563).

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first, before the inner sampler has anything to learn from.
        inner: Returns a fresh inner sampler for a seed.
    """

    def __init__(
        self,
        projection: Projection,
        seed: int,
        anchors: Sequence[Params] = (),
        inner: Callable[[int], BaseSampler] = tpe,
    ) -> None:
        self._projection = projection
        self._spaces = projection.spaces
        self._space = distributions(projection.spaces)
        self._seed = seed
        self._anchors = anchors
        self._inner = inner

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: units are always proposed together."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """Return the parameters of a policy inside the budget that was not tried yet.

        Where none is found in a fair number of tries, one that was tried is returned.
        """
        finished = finished_trials(study)
        rng = np.random.default_rng(seed_from(self._seed, len(finished)))
        tried = {policy_of(t.params, self._spaces).fingerprint for t in finished if t.params}
        wish = self._wish(study, trial, len(finished), rng)
        params = self._project(wish)
        for _ in range(_TRIES):
            if policy_of(params, self._spaces).fingerprint not in tried:
                break
            wish = self._jolt(wish, rng)
            params = self._project(wish)
        return params

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Pass a parameter that is no part of a policy on to the inner sampler."""
        inner = self._inner(seed_from(self._seed, trial.number))
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def _wish(
        self, study: Study, trial: FrozenTrial, count: int, rng: np.random.Generator
    ) -> Params:
        if count < len(self._anchors):
            return dict(self._anchors[count])
        inner = self._inner(int(rng.integers(2**31)))
        return self._random(rng) | inner.sample_relative(study, trial, self._space)

    def _random(self, rng: np.random.Generator) -> Params:
        params: Params = {}
        for unit, space in self._spaces.items():
            params[f"level:{unit}"] = int(rng.integers(space.levels))
            if len(space.methods) > 1:
                params[f"method:{unit}"] = str(rng.choice(space.methods))
        return params

    def _jolt(self, wish: Mapping[str, Any], rng: np.random.Generator) -> Params:
        """Redraw about an eighth of the parameters, at least one."""
        fresh = self._random(rng)
        names = sorted(wish)
        count = max(len(names) // 8, 1)
        changed = rng.choice(len(names), count, replace=False)
        return dict(wish) | {names[at]: fresh[names[at]] for at in changed}

    def _project(self, wish: Mapping[str, Any]) -> Params:
        levels = self._projection.project(levels_of(wish, self._spaces))
        return dict(wish) | {f"level:{unit}": level for unit, level in levels.items()}
