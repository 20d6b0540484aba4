"""Our sampler: allocations, switches and mixtures inside the budget, ranked by a predictor."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from autoprune.agent.encoding import Floats, Params, Rows
from autoprune.agent.projection import Projection
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.belief import Belief, Forecaster
from autoprune.agent.samplers.decisions import Decisions
from autoprune.agent.samplers.known import Examined, Known
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.samplers.proposal import Proposal
from autoprune.core.ledger import ROLLBACK
from autoprune.predictor.prequential import Reliability, Screening

Candidate = tuple[Rows, str]  # a row and its source
_INCUMBENTS = 5
_ALLOCATED, _SWITCHED, _CROSSED, _RANDOM = 6, 128, 32, 32
_LOOKED_AT, _LOT = 24, 6  # candidates, best first, that are filled up to find a new one
_ENOUGH = 8  # predictions, before their rank correlation tells anything
_PROMISE = 0.25  # of the improvement expected of the best candidate, to examine a decision instead
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
        exploration: Share of proposals that are drawn whatever is predicted, which audits what is
            predicted.
        gate: Rank correlation of predictions with scores so far; below it they decide nothing.
        predicts: Whether scores are predicted; without it proposals are drawn from the pool.
        coefficients: Whether allocations follow what scores tell of single units.
        rollback: Share of proposals, at most, that are alternatives to decisions of the best
            policy.
        switches: Whether the pool holds policies with pairs of units switched.
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
        gate: float = 0.3,
        predicts: bool = True,
        coefficients: bool = True,
        rollback: float = ROLLBACK,
        switches: bool = True,
    ) -> None:
        super().__init__(projection, seed, anchors)
        self.pool = Pool.of(projection, self.encoding, errors)
        self._forecaster = Forecaster(self.pool, earlier)
        self._exploration = exploration
        self._gate = gate
        self._predicts = predicts
        self._coefficients = coefficients
        self._rollback = rollback
        self._switches = switches
        self._decisions = Decisions(self.pool)

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        belief = self._forecaster.belief(known) if self._predicts else None
        trusted = belief is not None and self._trusted(belief.record)
        drawn = self._drawn(known, belief if trusted else None, rng)
        if not drawn:
            return None
        if belief is None:
            return Proposal(*self._new(drawn, known.tried))
        screening = self._screened(drawn, known, belief, rng) if trusted else None
        chosen = screening is not None and not screening.audit
        row, source = self._new(_ranked(drawn, belief) if chosen else drawn, known.tried)
        usual = Proposal(row, source, *belief.interval(row), screening, belief.record)
        return self._rolled_back(usual, known, belief) if chosen else usual

    def examine(self, study: Study, row: Rows) -> Proposal | None:
        """Return an alternative to a decision of a policy; None if every one was examined.

        Args:
            study: What was tried; it must hold a few scores.
            row: The policy, which the study has scored.
        """
        known = self._history.read(study)
        belief = self._forecaster.belief(known)
        return None if belief is None else self._alternative(row, known, belief)

    def _examines(self, known: Known) -> bool:
        """Tell whether the share of proposals that examine decisions is not reached yet."""
        return len(known.examined) + 1 <= self._rollback * (known.started + 1)

    def _rolled_back(self, usual: Proposal, known: Known, belief: Belief) -> Proposal:
        """Return an alternative to a decision of the best policy in place of ``usual``.

        Or ``usual``, where the share of such proposals is reached, or none is expected to
        improve nearly as much.
        """
        if not self._examines(known):
            return usual
        best = known.best(1, self._inside(known) & np.isfinite(known.final))
        found = self._alternative(best[0], known, belief) if len(best) else None
        if found is None:
            return usual
        gains = belief.improvement(np.stack([found.row, usual.row]))
        return found if gains[0] >= _PROMISE * gains[1] else usual

    def _alternative(self, row: Rows, known: Known, belief: Belief) -> Proposal | None:
        """Return the alternative that may improve a policy most, None if there is none."""
        found = self._decisions.best_alternative(row, known, belief)
        if found is None:
            return None
        told = belief.interval(found[0])
        examined = Examined(row, found[1], reverted=False)
        return Proposal(found[0], "rollback", *told, None, belief.record, examined)

    def _drawn(
        self, known: Known, belief: Belief | None, rng: np.random.Generator
    ) -> list[Candidate]:
        """Return new candidates in the order in which they come up without predictions."""
        parts = self._candidates(known, belief, rng).items()
        every = [(row, name) for name, rows in parts for row in rows]
        new = [one for one in every if one[0].tobytes() not in known.tried]
        new = self._without_harm(new, known, belief)
        return [new[at] for at in rng.permutation(len(new))]

    def _candidates(
        self, known: Known, belief: Belief | None, rng: np.random.Generator
    ) -> dict[str, Rows]:
        best = known.best(_INCUMBENTS, self._inside(known))
        parts = {"random": self.pool.random(rng, _RANDOM)}
        if len(best):
            weights = [self._weights(belief, rng) for _ in range(_ALLOCATED)]
            parts["allocation"] = self.pool.allocated(best[0], weights)
            if self._switches:
                parts["switch"] = self.pool.switched(best, rng, _SWITCHED)
            parts["cross"] = self.pool.crossed(best, rng, _CROSSED)
        return parts

    def _without_harm(
        self, candidates: list[Candidate], known: Known, belief: Belief | None
    ) -> list[Candidate]:
        """Leave out what repeats a reverted decision, unless it is expected to be the best now."""
        if belief is None or not candidates or not any(e.reverted for e in known.examined):
            return candidates
        rows = np.stack([row for row, _ in candidates])
        bad = self._decisions.repeated(rows, known) & (belief.expected(rows) >= belief.best)
        left = [one for one, avoided in zip(candidates, bad, strict=True) if not avoided]
        return left or candidates

    def _weights(self, belief: Belief | None, rng: np.random.Generator) -> Floats:
        if belief is None or not self._coefficients:
            return rng.lognormal(0.0, _DOUBT, self.encoding.units)
        return belief.coefficients(rng)

    def _trusted(self, record: Reliability) -> bool:
        """Tell whether predictions decide: they rank well, or are too few to tell."""
        if record.count < _ENOUGH or record.spearman is None:
            return True
        return record.spearman >= self._gate

    def _screened(
        self, drawn: Sequence[Candidate], known: Known, belief: Belief, rng: np.random.Generator
    ) -> Screening:
        """Return how many candidates are spared up to the first that may beat the incumbent.

        For some proposals none is: they are taken as they come, to see what sparing would miss.
        Nor where there is no incumbent: what costs more, as along a front, is none to beat.
        """
        inside = known.final[self._inside(known)]
        incumbent = float(np.nanmin(inside)) if np.isfinite(inside).any() else None
        audit = bool(rng.random() < self._exploration)
        if incumbent is None or audit:
            return Screening(incumbent, 0, audit)
        spared = 0
        for lot in self._filled_up(drawn, known.tried):
            lows = belief.intervals(np.stack([row for row, _ in lot]))[:, 1]
            worse = len(list(takewhile(lambda low: low > incumbent, lows.tolist())))
            spared += worse
            if worse < len(lot):
                break
        return Screening(incumbent, spared, audit=False)

    def _new(self, ordered: Sequence[Candidate], tried: set[bytes]) -> Candidate:
        """Return the first that is new with what it leaves of the budget spent.

        Where all that are looked at were tried so, the first one spends less.
        """
        for lot in self._filled_up(ordered, tried):
            return lot[0]
        row, source = ordered[0]
        return self._spent(row, tried), source

    def _filled_up(
        self, ordered: Sequence[Candidate], tried: set[bytes]
    ) -> Iterator[list[Candidate]]:
        """Yield those that are new with what they leave of the budget spent, none twice.

        They come in lots: mostly the first few are all that is asked for.
        """
        seen = set(tried)
        for start in range(0, min(len(ordered), _LOOKED_AT), _LOT):
            some = ordered[start : min(start + _LOT, _LOOKED_AT)]
            filled = self._filled(np.stack([row for row, _ in some]))
            lot = list[Candidate]()
            for row, (_, source) in zip(filled, some, strict=True):
                if row.tobytes() not in seen:
                    seen.add(row.tobytes())
                    lot.append((row, source))
            if lot:
                yield lot


def _ranked(drawn: Sequence[Candidate], belief: Belief) -> list[Candidate]:
    """Return candidates, the one that is expected to improve most first."""
    gains = belief.improvement(np.stack([row for row, _ in drawn]))
    return [drawn[at] for at in np.argsort(-gains, kind="stable")]
