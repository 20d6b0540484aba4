"""Evaluations of one run: looked up before they are paid for, stored before they are used."""

from dataclasses import dataclass, replace
from pathlib import Path

from autoprune.agent.finalist import Finalist
from autoprune.agent.outcomes import FAILED, SCORED, STOPPED, candidate_errors, is_stopped
from autoprune.core.fingerprint import fingerprint
from autoprune.core.policy import Policy
from autoprune.core.user_code import blame
from autoprune.errors import CandidateError
from autoprune.evaluation.scorer import Scorer, Watch
from autoprune.storage.database import Database
from autoprune.storage.records import Evaluation, EvaluationKey


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """Scores policies through the database, so an identical policy is never scored twice.

    Args:
        database: Where evaluations are kept.
        run_id: The run in the database.
        scorer: What scores a policy.
        model_fp: Fingerprint of the dense model.
        data_fp: Fingerprint of the data.
        folder: Where weights of finalists are kept.
    """

    database: Database
    run_id: int
    scorer: Scorer
    model_fp: str
    data_fp: str
    folder: Path

    def score(self, policy: Policy, watch: Watch | None = None) -> Evaluation:
        """Return the score of a policy; ``outcome`` tells if it failed or was stopped early.

        One that was stopped is scored anew where ``watch`` would not stop it any more.

        Args:
            policy: What is scored.
            watch: Says after each stage why to stop, or None. Without it a stored evaluation is
                taken as it is, and a new one is not stopped.
        """
        steps = self.scorer.recovery.score_steps
        key = self._key(policy, steps)
        known = self.database.find_evaluation(key)
        if known is None:
            found = self._score(policy, steps, watch)
            return self.database.record_evaluation(self.run_id, key, found)
        if not is_stopped(known) or watch is None or _stops(watch, known):
            return known
        found = self._score(policy, steps, watch)
        self.database.replace_evaluation(self.run_id, key, found)
        return found

    def finalist(self, policy: Policy, run: str = "") -> Finalist:
        """Return a policy as a finalist, with what an earlier session found of it.

        Args:
            policy: The policy.
            run: Name of the progressive run that it comes from, if it does.
        """
        steps = self.scorer.recovery.recover_steps
        key = self._key(policy, -1 - steps)
        if run:  # what it is worth depends on the whole run
            key = replace(key, evaluator_fp=fingerprint([key.evaluator_fp, run]))
        known = self.database.find_evaluation(key)

        def keep(found: Evaluation) -> None:
            self.database.replace_evaluation(self.run_id, key, found)

        return Finalist(self.scorer, policy, steps, self.folder, keep, known, run=run)

    def _score(self, policy: Policy, steps: int, watch: Watch | None) -> Evaluation:
        try:
            with candidate_errors():
                _, score = self.scorer.score(policy, steps, watch)
        except CandidateError as err:
            cause = err.__cause__ or err
            return Evaluation(policy, f"{FAILED}: {blame(cause)}", None, None, 0.0, 0.0)
        return Evaluation(
            policy,
            SCORED if score.stopped is None else f"{STOPPED}: early stop, {score.stopped}",
            score.loss,
            score.quality,
            score.sample_forwards,
            score.seconds,
            score=score.score,
            stages=score.stages,
        )

    def _key(self, policy: Policy, steps: int) -> EvaluationKey:
        way = self.scorer.fingerprint(steps)
        return EvaluationKey(self.model_fp, self.data_fp, policy.fingerprint, way)


def _stops(watch: Watch, known: Evaluation) -> bool:
    """Tell whether an evaluation that was stopped would be stopped again, by what is known now."""
    return any(watch(known.stages[: at + 1]) is not None for at in range(len(known.stages)))
