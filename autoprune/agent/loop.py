"""Ask, evaluate, tell: the loop that scores policies until the trials or the time are used up."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import optuna
from optuna.trial import Trial

from autoprune.agent.encoding import Params, levels_of, policy_of
from autoprune.agent.evaluations import Evaluations
from autoprune.agent.judge import LEAST, Watcher, verdict
from autoprune.agent.projection import Projection
from autoprune.agent.rollback import Rollback
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.trials import abandon, ask, ended, tell
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.stages import Stage
from autoprune.errors import ModelError
from autoprune.storage.records import Evaluation
from autoprune.tasks.base import shown


@dataclass(kw_only=True)
class Loop:
    """Scores policies; all that were scored, in earlier sessions too, end up in ``scored``.

    Args:
        study: The Optuna study.
        sampler: What proposes policies: feasible ones only.
        evaluations: What scores a policy, or knows its score.
        rollback: What judges alternatives to decisions.
        trials: Evaluations to end with, those of earlier sessions included.
        timeout: Seconds after which no more is asked for, None for no limit. One evaluation is
            always made.
        progress: Told after every evaluation.
    """

    study: optuna.Study
    sampler: PolicySampler
    evaluations: Evaluations
    rollback: Rollback
    trials: int
    timeout: float | None
    progress: ProgressCallback
    scored: dict[str, Evaluation] = field(default_factory=dict)
    _start: float = 0.0

    def run(self) -> list[Evaluation]:
        """Go on from where the study stands until there is nothing left to do.

        Returns:
            What was scored to the end, best score first.

        Raises:
            ModelError: If every policy failed.
        """
        self._run()
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
        while len(self.scored) < self.trials and not self.late:
            if not self._step(*ask(self.study, self.sampler)):
                self._report(None, note="the sampler has no policy left that was not tried")
                return
            pace = (time.monotonic() - began) / (len(self.scored) - before)
            self._report(pace)

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

    def _step(self, trial: Trial, params: Params) -> bool:
        """Evaluate and tell one trial; False if the sampler found no policy it had not tried."""
        policy = policy_of(params, self.projection.spaces)
        if policy.fingerprint in self.scored:
            abandon(trial)
            return False
        watcher = Watcher(trial, partial(self._verdict, self.sampler.aim(policy)))
        found = self.evaluations.score(policy, watcher)
        watcher.tell(found.stages)
        self._keep(found)
        self.rollback.judge(trial, found, self.scored)
        costs = self.projection.price(levels_of(params, self.projection.spaces))
        tell(trial, found, costs.as_dict())
        return True

    def _verdict(self, aim: Projection, stages: Sequence[Stage]) -> str | None:
        """Return why a candidate is stopped: the best is one inside what is aimed at now."""
        ranked = self.ranked()
        best = next((one for one in ranked if aim.aims_at(one.policy)), None)
        least = max(LEAST, self.evaluations.scorer.recovery.finalists)
        return verdict(stages, best, ranked, least)

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
