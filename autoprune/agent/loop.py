"""Ask, evaluate, tell: the loop that scores policies until the trials or the time are used up."""

import time
from dataclasses import dataclass, field
from functools import partial

import optuna
from optuna.trial import Trial

from autoprune.agent.encoding import levels_of, policy_of
from autoprune.agent.evaluations import Evaluations
from autoprune.agent.judge import LEAST, thin, verdict
from autoprune.agent.projection import Projection
from autoprune.agent.rollback import Rollback
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.scoring import Scoring, failed
from autoprune.agent.trials import abandon, ask, ended, tell
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.workers import Crew, WorkersLostError
from autoprune.errors import InfrastructureError, ModelError
from autoprune.evaluation.scorer import Watch
from autoprune.storage.records import Evaluation
from autoprune.tasks.base import shown

_MOST_LOST = 3  # policies in a row that cost their workers, before the workers are to blame


@dataclass(kw_only=True)
class Loop:
    """Scores policies; all that were scored, in earlier sessions too, end up in ``scored``.

    Args:
        study: The Optuna study.
        sampler: What proposes policies: feasible ones only.
        evaluations: What knows scores and keeps them.
        crew: Who scores policies.
        rollback: What judges alternatives to decisions.
        trials: Evaluations to end with, those of earlier sessions included.
        timeout: Seconds after which no more is asked for, None for no limit. One evaluation is
            always made.
        progress: Told after every evaluation.
    """

    study: optuna.Study
    sampler: PolicySampler
    evaluations: Evaluations
    crew: Crew[Scoring, Evaluation]
    rollback: Rollback
    trials: int
    timeout: float | None
    progress: ProgressCallback
    scored: dict[str, Evaluation] = field(default_factory=dict)
    _running: dict[int, tuple[Trial, Policy]] = field(default_factory=dict)
    _lost: int = 0  # policies in a row that took their workers with them
    _start: float = 0.0

    def run(self) -> list[Evaluation]:
        """Go on from where the study stands until there is nothing left to do.

        Returns:
            What was scored to the end, best score first.

        Raises:
            ModelError: If every policy failed.
            InfrastructureError: If workers do not live long enough to score anything.
        """
        try:
            self._run()
        finally:
            for trial, _ in self._running.values():
                abandon(trial)
            self._running.clear()
        ranked = self.ranked()
        if not ranked:
            reason = next(iter(self.scored.values())).outcome
            raise ModelError(
                f"None of {len(self.scored)} pruned models could be scored. The first one "
                f"{reason} Mend the model's forward, or lower recovery.learning_rate if the loss "
                "is no number, and start afresh."
            )
        return ranked

    def recall(self) -> None:
        """Take in what was scored before, and start the clock if it does not run yet."""
        for trial in ended(self.study):
            self._keep(self.evaluations.score(policy_of(trial.params, self.projection.spaces)))
        self._start = self._start or time.monotonic()

    def _run(self) -> None:
        self.recall()
        before, began = len(self.scored), time.monotonic()
        self._report(None)
        new = self._begin()
        while self._running:
            for number, found in self.crew.done():
                self._end(*self._running.pop(number), found)
                pace = (time.monotonic() - began) / (len(self.scored) - before)
                self._report(pace)
            new = new and self._begin()
        if not new:
            self._report(None, note="the sampler has no policy left that was not tried")

    def _begin(self) -> bool:
        """Let all workers have something to do; False if there is no policy left."""
        while self.crew.free and self._wanted and not self.late:
            trial, params = ask(self.study, self.sampler)
            policy = policy_of(params, self.projection.spaces)
            if policy in (running for _, running in self._running.values()) or (
                policy.fingerprint in self.scored
            ):
                abandon(trial)
                return False
            watch = self._watch(policy)
            known = self.evaluations.known(policy, watch)
            if known is not None:
                self._end(trial, policy, known)
                continue
            self._running[trial.number] = trial, policy
            self.crew.give(trial.number, Scoring(policy, watch))
        return True

    @property
    def _wanted(self) -> bool:
        return len(self.scored) + len(self._running) < self.trials

    def ranked(self) -> list[Evaluation]:
        """Return what was scored to the end, neither failed nor stopped, best score first."""
        fine = [(e.score, fp, e) for fp, e in self.scored.items() if e.score is not None]
        return [evaluation for _, _, evaluation in sorted(fine, key=lambda entry: entry[:2])]

    @property
    def late(self) -> bool:
        """Whether the time is over, counted from the first run."""
        used = time.monotonic() - self._start
        return self.timeout is not None and bool(self.scored) and used >= self.timeout

    @property
    def projection(self) -> Projection:
        """What is feasible."""
        return self.sampler.projection

    def _end(self, trial: Trial, policy: Policy, found: Evaluation | WorkersLostError) -> None:
        """Keep and tell what became of a trial."""
        if isinstance(found, WorkersLostError):
            found = self._blamed(policy, found)
        else:
            self._lost = 0
        found = self.evaluations.keep(found)
        self._keep(found)
        self.rollback.judge(trial, found, self.scored)
        costs = self.projection.price(levels_of(trial.params, self.projection.spaces))
        tell(trial, found, costs.as_dict())

    def _blamed(self, policy: Policy, lost: WorkersLostError) -> Evaluation:
        """Return what a policy is said to have done to its workers."""
        self._lost += 1
        if self._lost >= _MOST_LOST:
            raise InfrastructureError(
                f"The last {self._lost} policies each cost {lost}. What was scored before is "
                "kept. Look for what ends them, memory that runs out for one, and resume."
            )
        return failed(policy, f"it cost {lost}")

    def _watch(self, policy: Policy) -> Watch:
        """Return why a candidate is stopped: the best is one inside what is aimed at now."""
        ranked, aim = self.ranked(), self.sampler.aim(policy)
        best = next((one for one in ranked if aim.aims_at(one.policy)), None)
        least = max(LEAST, self.evaluations.scorer.recovery.finalists)
        return partial(verdict, incumbent=best, completed=thin(ranked), least=least)

    def _keep(self, evaluation: Evaluation) -> None:
        self.scored[evaluation.policy.fingerprint] = evaluation

    def _report(self, pace: float | None, note: str | None = None) -> None:
        inside = (one for one in self.ranked() if self.projection.aims_at(one.policy))
        best = next(inside, None)
        left = self.trials - len(self.scored)
        share = None
        if best is not None:
            cost = self.projection.cost
            macs = cost.price(self.evaluations.scorer.kept(best.policy)).macs
            share = macs / cost.dense.macs
        self.progress(
            Progress(
                stage="search",
                done=len(self.scored),
                total=self.trials,
                best_quality=shown(self.evaluations.scorer.task, best.quality) if best else None,
                best_loss=best.loss if best else None,
                feasible_macs=share,
                seconds_left=None if pace is None else pace * left,
                note=note,
            )
        )
