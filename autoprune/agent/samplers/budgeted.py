"""Our sampler: allocations, switches and mixtures inside the budget, ranked by a predictor."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Params, Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.belief import Belief, Forecaster
from autoprune.agent.samplers.decisions import Decisions
from autoprune.agent.samplers.known import Examined, Known
from autoprune.agent.samplers.lots import Candidate, as_drawn, proposals_of, ranked
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.samplers.proposal import Proposal
from autoprune.core.arrays import Floats
from autoprune.core.ledger import ROLLBACK
from autoprune.predictor.prequential import GATE, Reliability, Screening

_INCUMBENTS = 5
_AT_ONCE = 32  # proposals of one pool, by one fit of the predictor
_ALLOCATED, _SWITCHED, _CROSSED, _RANDOM = 6, 128, 32, 32
_LOOKED_AT, _LOT = 24, 6  # candidates, best first, that are filled up to find a new one
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
        gate: float = GATE,
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

    def proposals(self, study: Study, known: Known, turn: int, most: int) -> list[Proposal]:
        """Return several of the next policies: of one pool, by one fit of the predictor."""
        if most > 1 and self._anchor(known, turn) is None:
            lot = self._lot(known, self._rng(known), min(most, _AT_ONCE))
            if lot:
                return lot
        return super().proposals(study, known, turn, most)

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        return next(iter(self._lot(known, rng, 1)), None)

    def _lot(self, known: Known, rng: np.random.Generator, most: int) -> list[Proposal]:
        """Return the next proposals, all different; none if the pool holds nothing new.

        The first one does not depend on how many are asked for. What was spared counts for it
        alone.
        """
        belief = self._forecaster.belief(known) if self._predicts else None
        trusted = belief is not None and self._trusted(belief.record)
        drawn = self._drawn(known, belief if trusted else None, rng)
        if not drawn:
            return []
        if belief is None:
            first = self._new(drawn, known.tried)
            plain = as_drawn(self.pool, drawn, known.tried, first, most - 1)
            return [Proposal(*one) for one in (first, *plain)]
        screening = self._screened(drawn, known, belief, rng) if trusted else None
        chosen = screening is not None and not screening.audit
        first = self._new(_ranked(drawn, belief) if chosen else drawn, known.tried)
        lot = [Proposal(*first, *belief.interval(first[0]), screening, belief.record)]
        if screening is None:
            plain = as_drawn(self.pool, drawn, known.tried, first, most - 1)
            return lot + proposals_of(plain, belief, [None] * len(plain))
        audits = (rng.random(most - 1) < self._exploration).tolist()
        more = ranked(self.pool, drawn, known.tried, first, audits, belief)
        told = [Screening(screening.incumbent, 0, audit) for _, _, audit in more]
        lot += proposals_of([(row, source) for row, source, _ in more], belief, told)
        return self._rolled_back(lot, known, belief) if chosen else lot

    def examine(self, study: Study, row: Rows) -> Proposal | None:
        """Return an alternative to a decision of a policy; None if every one was examined.

        Args:
            study: What was tried; it must hold a few scores.
            row: The policy, which the study has scored.
        """
        with self._lock:
            known = self._history.read(study)
            belief = self._forecaster.belief(known)
            if belief is None:
                return None
            return next(self._alternatives(row, known, belief), None)

    def _rolled_back(
        self, usual: Sequence[Proposal], known: Known, belief: Belief
    ) -> list[Proposal]:
        """Return alternatives to decisions of the best policy in place of some proposals.

        Where the share of such proposals is reached, or none is expected to improve nearly as
        much, what is usual stays.
        """
        best = known.leading(1, self.feasible.meets, scored=True)
        alternatives = self._alternatives(known.rows[best[0]], known, belief) if best else iter(())
        found, examined = list(usual), len(known.examined)
        for at, one in enumerate(usual):
            if one.screening is not None and one.screening.audit:
                continue
            if examined + 1 > self._rollback * (known.started + at + 1):
                break
            other = next(alternatives, None)
            if other is None:
                break
            gains = belief.improvement(np.stack([other.row, one.row]))
            if gains[0] < _PROMISE * gains[1]:
                break
            found[at], examined = other, examined + 1
        different: dict[bytes, Proposal] = {}
        for one in found:
            different.setdefault(one.row.tobytes(), one)
        return list(different.values())

    def _alternatives(self, row: Rows, known: Known, belief: Belief) -> Iterator[Proposal]:
        """Yield alternatives to decisions of a policy, those that may improve it most first."""
        for other, units in self._decisions.best_alternatives(row, known, belief):
            told = belief.interval(other)
            examined = Examined(row, units, reverted=False)
            yield Proposal(other, "rollback", *told, None, belief.record, examined)

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
        best = known.rows[known.leading(_INCUMBENTS, self.feasible.meets)]
        parts = {"random": self.pool.random(rng, _RANDOM)}
        if len(best):
            parts["allocation"] = self.pool.allocated(best[0], self._weights(belief, rng))
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
            return rng.lognormal(0.0, _DOUBT, (_ALLOCATED, self.encoding.units))
        return belief.coefficients(rng, _ALLOCATED)

    def _trusted(self, record: Reliability) -> bool:
        """Tell whether predictions decide: they rank well, or are too few to tell."""
        return record.told_rank is None or record.told_rank >= self._gate

    def _screened(
        self, drawn: Sequence[Candidate], known: Known, belief: Belief, rng: np.random.Generator
    ) -> Screening:
        """Return how many candidates are spared up to the first that may beat the incumbent.

        For some proposals none is: they are taken as they come, to see what sparing would miss.
        Nor where there is no incumbent: what costs more, as along a front, is none to beat.
        """
        best = known.leading(1, self.feasible.meets, scored=True)
        incumbent = float(known.final[best[0]]) if best else None
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
        return self.feasible.spent(row, tried), source

    def _filled_up(
        self, ordered: Sequence[Candidate], tried: set[bytes]
    ) -> Iterator[list[Candidate]]:
        """Yield those that are new with what they leave of the budget spent, none twice.

        They come in lots: mostly the first few are all that is asked for.
        """
        seen = set(tried)
        for start in range(0, min(len(ordered), _LOOKED_AT), _LOT):
            some = ordered[start : min(start + _LOT, _LOOKED_AT)]
            filled = self.feasible.filled(np.stack([row for row, _ in some]))
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
