"""Evaluations of one run: looked up before they are paid for, stored before they are used."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from autoprune.artifacts.files import sha256_of
from autoprune.artifacts.weights import load_weights, save_weights
from autoprune.core.policy import Policy
from autoprune.core.user_code import blame
from autoprune.errors import CandidateError, InputError, ModelError
from autoprune.evaluation.scorer import Score, Scorer, Watch
from autoprune.storage.database import Database
from autoprune.storage.records import Evaluation, EvaluationKey

SCORED, RECOVERED, STOPPED, FAILED = "scored", "recovered", "stopped", "failed"


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

    def recover(self, policy: Policy) -> tuple[nn.Module, Evaluation]:
        """Return the fine-tuned model of a finalist and what it was found to be worth.

        Raises:
            CandidateError: If it raises, or its loss becomes NaN or infinite.
        """
        steps = self.scorer.recovery.recover_steps
        key = self._key(policy, -1 - steps)
        known = self.database.find_evaluation(key)
        if known is not None:
            model = self._stored(known)
            if model is not None:
                return model, known
        model, found = self._recover(policy, steps)
        self.database.record_evaluation(self.run_id, key, found)
        return model, found

    def _recover(self, policy: Policy, steps: int) -> tuple[nn.Module, Evaluation]:
        try:
            model, score = self._train(policy, steps)
        except (InputError, CandidateError):
            raise
        except Exception as err:  # the user's forward may raise anything
            raise CandidateError(blame(err)) from err
        path = self.folder / f"finalist-{policy.fingerprint[:12]}.safetensors"
        sha256 = save_weights(model, path)
        return model, Evaluation(
            policy,
            RECOVERED,
            score.loss,
            score.quality,
            score.sample_forwards,
            score.seconds,
            path.name,
            sha256,
            score.score,
        )

    def _score(self, policy: Policy, steps: int, watch: Watch | None) -> Evaluation:
        try:
            _, score = self._train(policy, steps, watch)
        except InputError:
            raise
        except Exception as err:  # the user's forward may raise anything
            return Evaluation(policy, f"{FAILED}: {blame(err)}", None, None, 0.0, 0.0)
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

    def _train(
        self, policy: Policy, steps: int, watch: Watch | None = None
    ) -> tuple[nn.Module, Score]:
        """Score a policy; memory that runs out is not the policy's fault."""
        try:
            return self.scorer.score(policy, steps, watch)
        except (MemoryError, torch.OutOfMemoryError) as err:
            raise ModelError(
                f"Memory ran out while a candidate was trained: {blame(err)} Lower the batch size "
                "of the loaders. What was scored before is kept."
            ) from err

    def _stored(self, known: Evaluation) -> nn.Module | None:
        """Return a finalist of an earlier session, if its weights are still as recorded."""
        path = self.folder / str(known.weights)
        if known.weights is None or not path.is_file():
            return None
        if sha256_of(path) != known.weights_sha256:
            return None
        model = self.scorer.build(known.policy)
        load_weights(model, path, sha256_of(path))
        return model.eval()

    def _key(self, policy: Policy, steps: int) -> EvaluationKey:
        way = self.scorer.fingerprint(steps)
        return EvaluationKey(self.model_fp, self.data_fp, policy.fingerprint, way)


def is_stopped(evaluation: Evaluation) -> bool:
    """Tell whether an evaluation was stopped early."""
    return evaluation.outcome.startswith(STOPPED)


def _stops(watch: Watch, known: Evaluation) -> bool:
    """Tell whether an evaluation that was stopped would be stopped again, by what is known now."""
    return any(watch(known.stages[: at + 1]) is not None for at in range(len(known.stages)))
