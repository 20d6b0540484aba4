"""Our sampler: allocations, switches and mixtures inside the budget, ranked by a predictor."""

from collections.abc import Mapping, Sequence

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from autoprune.agent.encoding import Floats, Params, Rows
from autoprune.agent.projection import Projection
from autoprune.agent.samplers.base import PolicySampler, Proposal
from autoprune.agent.samplers.belief import Belief, Forecaster
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool

Parts = Mapping[str, Sequence[Rows]]
_INCUMBENTS = 5
_ALLOCATED, _SWITCHED, _CROSSED, _RANDOM = 6, 128, 32, 32
_LOOKED_AT = 24  # candidates, best first, that are filled up to find a new one
_DOUBT = 0.5  # spread of the logarithm of coefficients of which scores tell nothing


class BudgetedSampler(PolicySampler):
    """Draws a pool of feasible policies and proposes the one expected to improve most.

    The pool holds allocations under coefficients that the scores so far make likely, incumbents
    with pairs of units switched, mixtures of incumbents, and even draws. They are ranked by
    expected improvement (Jones et al. 1998).

    Args:
        projection: What is feasible.
        seed: Seed of the run.
        anchors: Parameters proposed first.
        errors: What is given up, ``units x methods x levels``, infinite for what a unit does not
            have; None where nothing was measured.
        earlier: What earlier runs found, in rows of this one.
        exploration: Share of proposals that are drawn evenly, whatever is predicted.
        predicts: Whether scores are predicted; without it proposals are drawn from the pool.
        coefficients: Whether allocations follow what scores tell of single units.
    """

    def __init__(
        self,
        projection: Projection,
        seed: int,
        anchors: Sequence[Params] = (),
        errors: Floats | None = None,
        *,
        earlier: Sequence[Known] = (),
        exploration: float = 0.1,
        predicts: bool = True,
        coefficients: bool = True,
    ) -> None:
        super().__init__(projection, seed, anchors)
        self.pool = Pool.of(projection, self.encoding, errors)
        self._forecaster = Forecaster(self.pool, earlier)
        self._exploration = exploration
        self._predicts = predicts
        self._coefficients = coefficients

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        belief = self._forecaster.belief(known) if self._predicts else None
        tried = known.tried
        parts = {
            name: [row for row in rows if row.tobytes() not in tried]
            for name, rows in self._candidates(known, belief, rng).items()
        }
        parts = {name: rows for name, rows in parts.items() if rows}
        if not parts:
            return None
        row, source = self._new(self._ordered(parts, belief, rng), tried)
        if belief is None:
            return Proposal(row, source)
        return Proposal(row, source, *belief.interval(row))

    def _candidates(
        self, known: Known, belief: Belief | None, rng: np.random.Generator
    ) -> dict[str, Rows]:
        best = known.best(_INCUMBENTS)
        parts = {"random": self.pool.random(rng, _RANDOM)}
        if len(best):
            weights = [self._weights(belief, rng) for _ in range(_ALLOCATED)]
            parts["allocation"] = self.pool.allocated(best[0], weights)
            parts["switch"] = self.pool.switched(best, rng, _SWITCHED)
            parts["cross"] = self.pool.crossed(best, rng, _CROSSED)
        return parts

    def _weights(self, belief: Belief | None, rng: np.random.Generator) -> Floats:
        if belief is None or not self._coefficients:
            return rng.lognormal(0.0, _DOUBT, self.encoding.units)
        return belief.coefficients(rng)

    def _ordered(
        self, parts: Parts, belief: Belief | None, rng: np.random.Generator
    ) -> list[tuple[Rows, str]]:
        """Return candidates and their sources, the one to propose first."""
        explored = rng.random() < self._exploration
        every = [(row, name) for name, rows in parts.items() for row in rows]
        if belief is None or explored:
            shuffled = [every[at] for at in rng.permutation(len(every))]
            return sorted(shuffled, key=lambda one: explored and one[1] != "random")
        gains = belief.improvement(np.stack([row for row, _ in every]))
        return [every[at] for at in np.argsort(-gains, kind="stable")]

    def _new(self, ordered: Sequence[tuple[Rows, str]], tried: set[bytes]) -> tuple[Rows, str]:
        """Return the first that is new with what it leaves of the budget spent.

        Where all that are looked at were tried so, the first one spends less.
        """
        for row, source in ordered[:_LOOKED_AT]:
            filled = self._filled(row)
            if filled.tobytes() not in tried:
                return filled, source
        row, source = ordered[0]
        return self._spent(row, tried), source
