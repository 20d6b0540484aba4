"""The work of a worker: score one policy, whatever becomes of it."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from autoprune.agent.evaluating.outcomes import FAILED, SCORED, STOPPED, candidate_errors
from autoprune.core.policy import Policy
from autoprune.core.staged import Interim
from autoprune.core.user_code import blame
from autoprune.errors import CandidateError
from autoprune.evaluation.scoring.making import Making
from autoprune.evaluation.scoring.score import Score
from autoprune.evaluation.scoring.scorer import Scorer, Watch
from autoprune.storage.records import Evaluation

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Job(Protocol[R_co]):
    """What a worker of a search may be given; it can be pickled."""

    def do(self, scorer: Scorer) -> R_co:
        """Do it, and return what came of it."""


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

    def do(self, scorer: Scorer) -> Evaluation:
        """Return the score; ``outcome`` tells if the policy failed or was stopped early.

        Raises:
            InputError: If it is not the policy's fault, and the user can mend it.
        """
        try:
            with candidate_errors():
                _, score = scorer.score(self.policy, scorer.recovery.steps_of_scores, self.watch)
        except CandidateError as err:
            return failed(self.policy, blame(err.__cause__ or err))
        return _evaluation(self.policy, score)


@dataclass(frozen=True)
class ScoreWork:
    """What workers of a search do: score policies, in one go or stage by stage; train finalists.

    Args:
        scorer: What scores and trains.
    """

    scorer: Scorer

    @property
    def stages(self) -> int:
        """How many stages a score has, at least 1."""
        return len(self.scorer.aims(self.scorer.recovery.steps_of_scores))

    def __call__(self, job: Job[R]) -> R:
        """Do a job in one go."""
        return job.do(self.scorer)

    def begin(
        self, job: Scoring, stopped: str, state: dict[str, Any] | None = None
    ) -> "ScoreCourse":
        """Return a score on its way; its watch is left out, for others decide.

        Args:
            job: The policy.
            stopped: Who may end it, for its outcome.
            state: What it goes on from; None for its start.
        """
        return ScoreCourse(self.scorer, job.policy, stopped, state)


class ScoreCourse:
    """A score on its way; see `autoprune.core.staged.Course`.

    Args:
        scorer: What scores.
        policy: The policy.
        stopped: Who may end it, for its outcome.
        state: What it goes on from; None for its start.
    """

    def __init__(
        self, scorer: Scorer, policy: Policy, stopped: str, state: dict[str, Any] | None
    ) -> None:
        self._scorer, self._policy, self._stopped = scorer, policy, stopped
        self._making = None if state is None else self._begun(state)

    def advance(self) -> Interim[Evaluation]:
        """Go on to the next stage; what fails is over.

        Raises:
            InputError: If it is not the policy's fault, and the user can mend it.
        """
        try:
            with candidate_errors():
                making = self._making = self._making or self._begun(None)
                making.advance()
        except CandidateError as err:
            gone = failed(self._policy, blame(err.__cause__ or err))
            return Interim(gone, math.nan, over=True)
        why = f"{self._stopped} after {making.reached} of {len(making.aims)} stages"
        score = making.score(None if making.over else why)
        value = making.candidate.stages[-1].value
        return Interim(_evaluation(self._policy, score), value, making.over)

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on."""
        assert self._making is not None
        return self._making.state_dict()

    def _begun(self, state: dict[str, Any] | None) -> Making:
        return self._scorer.making(self._policy, self._scorer.recovery.steps_of_scores, state)


def _evaluation(policy: Policy, score: Score) -> Evaluation:
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


def failed(policy: Policy, reason: str) -> Evaluation:
    """Return the evaluation of a policy that could not be scored."""
    return Evaluation(policy, f"{FAILED}: {reason}", None, None, 0.0, 0.0)
