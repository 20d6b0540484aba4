"""The work of a worker: score one policy, whatever becomes of it."""

from dataclasses import dataclass

from autoprune.agent.outcomes import FAILED, SCORED, STOPPED, candidate_errors
from autoprune.core.policy import Policy
from autoprune.core.user_code import blame
from autoprune.errors import CandidateError
from autoprune.evaluation.scorer import Scorer, Watch
from autoprune.storage.records import Evaluation


@dataclass(frozen=True, slots=True)
class Scoring:
    """A policy to be scored.

    Args:
        policy: The policy.
        watch: Says after each stage why to stop, or None; can be pickled. Without it nothing is
            stopped early.
    """

    policy: Policy
    watch: Watch | None = None


def scored(scorer: Scorer, job: Scoring) -> Evaluation:
    """Return the score of a policy; ``outcome`` tells if it failed or was stopped early.

    Args:
        scorer: What scores it.
        job: The policy.

    Raises:
        InputError: If it is not the policy's fault, and the user can mend it.
    """
    try:
        with candidate_errors():
            _, score = scorer.score(job.policy, scorer.recovery.score_steps, job.watch)
    except CandidateError as err:
        return failed(job.policy, blame(err.__cause__ or err))
    return Evaluation(
        job.policy,
        SCORED if score.stopped is None else f"{STOPPED}: early stop, {score.stopped}",
        score.loss,
        score.quality,
        score.sample_forwards,
        score.seconds,
        score=score.score,
        stages=score.stages,
    )


def failed(policy: Policy, reason: str) -> Evaluation:
    """Return the evaluation of a policy that could not be scored."""
    return Evaluation(policy, f"{FAILED}: {reason}", None, None, 0.0, 0.0)
