"""A search that is ready to begin, or to go on where it was."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.finalist import run_of
from autoprune.agent.evaluating.outcomes import is_stopped, was_free
from autoprune.agent.evaluating.scoring import Job
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.population import recover_population
from autoprune.agent.finalists.race import Recover, recover_finalists
from autoprune.agent.finalists.side_by_side import Advance, SideBySide, in_turn
from autoprune.agent.housing.company import Company
from autoprune.agent.loop.loop import Loop
from autoprune.agent.loop.trials import reliability
from autoprune.agent.preparing.prepare import Prepared
from autoprune.agent.progressive.recover import recover_progressively
from autoprune.agent.progressive.state import State
from autoprune.agent.proposing.proposers import Proposers
from autoprune.agent.request import Request
from autoprune.agent.rollback.rollback import Rollback
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.sensitivity.sensed import Sensed
from autoprune.artifacts.result import Rolledback, SearchCost
from autoprune.core.progressive import Step
from autoprune.core.workers import Crew, Inline, Workers
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation


@dataclass(frozen=True)
class Session:
    """All that a search works with.

    Args:
        request: What is asked for.
        evaluations: What scores policies.
        study: The Optuna study.
        sampler: What proposes policies at first.
        proposers: What makes samplers for other limits.
        workers: Who scores policies, and trains finalists; see `ScoreWork`.
        company: Others who work at the same time.
    """

    request: Request
    evaluations: Evaluations
    study: optuna.Study
    sampler: PolicySampler
    proposers: Proposers
    workers: Workers[Job[Any], Any]
    company: Company

    @property
    def prepared(self) -> Prepared:
        """What it starts from."""
        return self.proposers.prepared

    def loop(self) -> Loop:
        """Return what scores policies until the trials or the time are used up."""
        return Loop(
            study=self.study,
            sampler=self.sampler,
            evaluations=self.evaluations,
            crew=Crew(self.workers),
            company=self.company,
            rollback=Rollback(self.ledger, self.prepared.projection),
            trials=self.request.trials,
            timeout=self.request.timeout,
            progress=self.request.progress,
        )

    def recover(self, projection: Projection) -> Recover:
        """Return what fine-tunes the best few inside some limits, in one go or progressively."""
        if self.request.populate is not None:
            return partial(recover_population, populate=self.request.populate)
        if not self._progressive:
            return partial(recover_finalists, advance=self._advance)
        quality = self.prepared.dense_quality
        return partial(recover_progressively, projection=projection, quality=quality)

    @property
    def _advance(self) -> Advance:
        """What trains finalists: the workers, but for those whose jobs a scheduler compares."""
        if isinstance(self.workers, Inline) or self.workers.staged:
            return in_turn
        return SideBySide(Crew(self.workers))

    @property
    def _progressive(self) -> bool:
        return self.request.recovery.schedule == "progressive"

    def steps(self, winner: Evaluation) -> list[Step]:
        """Return the steps of the progressive run that led to a model; none if there was none."""
        name, stored = run_of(winner.weights or ""), self.evaluations
        if not name:
            return []
        states = Checkpoints(stored.database, stored.run_id, name).latest()
        return list(State.from_dict(states[0]).steps) if states else []

    @property
    def ledger(self) -> Ledger:
        """What became of the decisions that this run examined."""
        return Ledger(self.evaluations.database, self.evaluations.run_id)

    def cost(self, loop: Loop) -> SearchCost:
        """Return what was spent, that of earlier sessions and of what missed a limit included.

        Args:
            loop: What scored policies.
        """
        sensed, stored = self.proposers.sensed, self.evaluations
        trained = [] if self._progressive else stored.finalists()
        spent: list[Evaluation | Sensed] = [*loop.scored.values(), *trained, sensed]
        forwards, seconds = (
            sum(getattr(one, what) for one in spent)
            + Checkpoints.spent(stored.database, stored.run_id, what)
            for what in ("sample_forwards", "seconds")
        )
        return SearchCost(
            evaluations=len(loop.scored),
            sample_forwards=self.prepared.sample_forwards + forwards,
            seconds=seconds,
            seed=self.request.seed,
            sampler=self.request.sampler,
            sensitivity_forwards=sensed.sample_forwards,
            stopped=sum(map(is_stopped, loop.scored.values())),
            reused=sum(map(was_free, loop.scored.values())),
            predictions=reliability(self.study),
            warm_start=self.proposers.warm.evaluations,
            rollback=Rolledback.of(self.ledger.entries()),
        )
