"""Samplers that allocate by errors alone: SPDY's search over coefficients, and two baselines."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from autoprune.agent.allocation import Allocator
from autoprune.agent.encoding import Floats, Params, Rows
from autoprune.agent.projection import Projection
from autoprune.agent.samplers.base import PolicySampler, Proposal
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool

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
        weights, tried = self._coefficients(known), known.tried
        around = self.encoding.join(self._start, np.zeros_like(self._start))
        for _ in range(_TRIES):
            row = self.pool.allocated(around, [weights])[0]
            levels, methods = self.encoding.split(row)
            row = self.encoding.join(self.projection.filled(levels), methods)
            if row.tobytes() not in tried:
                return Proposal(row, "allocation")
            weights = self._changed(weights, rng)
        return None

    def _coefficients(self, known: Known) -> Floats:
        """Return the coefficients of the next proposal: worked out anew, for none are stored."""
        used: list[Floats] = []
        scores = known.values.copy()
        scores[: len(self._anchors)] = np.nan  # no coefficients led to those
        for count in range(len(known.rows) + len(known.pending) + 1):
            rng = np.random.default_rng([self._seed, count])
            values = scores[:count]
            if count < _DRAWN or not np.isfinite(values).any():
                used.append(rng.random(self.encoding.units))
            else:
                used.append(self._changed(used[int(np.nanargmin(values))], rng))
        return used[-1]

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
        pool, allocator = Pool.of(projection, self.encoding, errors), Allocator(projection)
        levels = allocator.uniform() if rule == "uniform" else allocator.minimax(pool.least)
        best = [pool.best_methods(levels)] if errors is not None else []
        plain = [np.minimum(at, self.encoding.methods - 1) for at in range(self._most)]
        self._rows = [self.encoding.join(levels, methods) for methods in (*best, *plain)]

    @property
    def _most(self) -> int:
        return int(self.encoding.methods.max())

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        tried = known.tried
        new: list[Rows] = [row for row in self._rows if row.tobytes() not in tried]
        return Proposal(new[0], "allocation") if new else None
