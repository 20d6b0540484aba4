"""Any Optuna sampler, made to propose only policies that meet the budget."""

import warnings
from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Params, Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.proposal import Proposal

_TRIES = 64
_FAR = 10**9  # from here on no trial has a number, or TPE would take it for the one asked for


def tpe(seed: int) -> BaseSampler:
    """Return Optuna's multivariate TPE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True)


class ProjectedSampler(PolicySampler):
    """Projects what another sampler proposes onto the budget.

    Rejecting infeasible trials instead would break samplers (Optuna issues 2969, 4563).

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first, before the inner sampler has anything to learn from.
        inner: Returns a fresh inner sampler for a seed.
    """

    needs_trial = True

    def __init__(
        self,
        projection: Projection,
        seed: int,
        anchors: Sequence[Params] = (),
        inner: Callable[[int], BaseSampler] = tpe,
    ) -> None:
        super().__init__(projection, seed, anchors)
        self._inner = inner

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        assert trial is not None
        inner = self._inner(int(rng.integers(2**31)))
        drawn = self.encoding.params(self.encoding.random(rng, 1)[0])
        counted = copy(trial)  # CMA-ES draws by numbers, and what was given back is no draw
        counted.number = _FAR + known.started
        wish = self.encoding.wish(drawn | inner.sample_relative(study, counted, self.space))
        tried = known.tried
        for _ in range(_TRIES):
            row = self.feasible.projected(wish)
            if row.tobytes() not in tried:
                return Proposal(row, "sampler")
            wish = self._jolted(wish, rng)
        return None

    def _jolted(self, wish: Rows, rng: np.random.Generator) -> Rows:
        """Redraw about an eighth of the units, at least one."""
        units = self.encoding.units
        some = rng.permutation(units)[: max(units // 8, 1)]
        fresh = self.encoding.random(rng, 1)[0]
        found = wish.copy()
        for part in (some, units + some):
            found[part] = fresh[part]
        return found
