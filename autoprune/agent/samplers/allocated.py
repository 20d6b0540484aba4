"""Samplers that allocate by errors alone: SPDY's search over coefficients, and two baselines."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.allocation import Allocator
from autoprune.agent.feasible.encoding import Params, Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.samplers.proposal import Proposal
from autoprune.core.arrays import Floats

Rule = Literal["uniform", "minimax"]
_DRAWN = 100  # coefficients drawn evenly before the best ones are changed
_CHANGED = 0.1  # share of them
_TRIES = 16


class SpdySampler(PolicySampler):
    """Searches the coefficients of errors that add up (Frantar and Alistarh 2022, SPDY).

    The first hundred are drawn evenly from [0, 1]; then a tenth of the best ones is drawn anew.

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first.
        errors: As for `Pool`.
    """

    def __init__(
        self,
        projection: Projection,
        seed: int,
        anchors: Sequence[Params] = (),
        errors: Floats | None = None,
    ) -> None:
        super().__init__(projection, seed, anchors)
        self.pool = Pool.of(projection, self.encoding, errors)
        self._start = Allocator(projection).spdy(self.pool.least)

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        weights, tried = self._coefficients(known, rng), known.tried
        around = self.encoding.join(self._start, np.zeros_like(self._start))
        for _ in range(_TRIES):
            row = self.feasible.filled(self.pool.allocated(around, weights[None]))[0]
            if row.tobytes() not in tried:
                return Proposal(row, "allocation", coefficients=weights.tolist())
            weights = self._changed(weights, rng)
        return None

    def _coefficients(self, known: Known, rng: np.random.Generator) -> Floats:
        """Return coefficients drawn evenly, later the best ones that were scored, changed."""
        led = np.array([len(one) == self.encoding.units for one in known.coefficients], bool)
        scored = led & np.isfinite(known.values)
        if known.started - len(self._anchors) < _DRAWN or not scored.any():
            return rng.random(self.encoding.units)
        best = int(np.argmin(np.where(scored, known.values, np.inf)))
        return self._changed(np.array(known.coefficients[best]), rng)

    def _changed(self, weights: Floats, rng: np.random.Generator) -> Floats:
        some = rng.permutation(len(weights))[: max(round(_CHANGED * len(weights)), 1)]
        found = weights.copy()
        found[some] = rng.random(len(some))
        return found


class AllocationSampler(PolicySampler):
    """Proposes one allocation per method: a baseline, whose search is over soon.

    Args:
        projection: What is feasible.
        seed: Not used: nothing is drawn.
        rule: ``uniform``: the same share of every unit. ``minimax``: the largest error is least,
            as in FastNAS.
        errors: As for `Pool`; ``uniform`` does not look at them.
    """

    goes_on: ClassVar[bool] = False

    def __init__(
        self,
        projection: Projection,
        seed: int,
        rule: Rule,
        errors: Floats | None = None,
    ) -> None:
        super().__init__(projection, seed)
        self._pool = Pool.of(projection, self.encoding, errors)
        self._rule, self._measured = rule, errors is not None

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        levels = self._levels()
        rows = (self.encoding.join(levels, methods) for methods in self._methods(levels))
        new = (row for row in rows if row.tobytes() not in known.tried)
        return next((Proposal(row, "allocation") for row in new), None)

    def _levels(self) -> Rows:
        """Return the allocation: each time anew, as limits may be tightened."""
        allocator, uniform = Allocator(self.projection), self._rule == "uniform"
        return allocator.uniform() if uniform else allocator.minimax(self._pool.least)

    def _methods(self, levels: Rows) -> list[Rows]:
        """Return the best methods if errors were measured, then each method for all units."""
        best = [self._pool.best_methods(levels)] if self._measured else []
        most = int(self.encoding.methods.max())
        return [*best, *(np.minimum(at, self.encoding.methods - 1) for at in range(most))]
