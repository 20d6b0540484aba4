"""Trains legs of a progressive run, and keeps what they come to."""

from dataclasses import dataclass

from autoprune.agent.evaluating.outcomes import candidate_errors
from autoprune.agent.progressive.state import Attempt, State
from autoprune.agent.progressive.states import States
from autoprune.core.policy import Policy
from autoprune.core.progressive import Leg
from autoprune.errors import CandidateError
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.onward import Reached, onward
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import FineTuning


@dataclass(frozen=True)
class Trainer:
    """Trains from where a run stands.

    Args:
        scorer: What builds and trains.
        states: Keeps where the run stands.
    """

    scorer: Scorer
    states: States

    def tried(self, state: State, leg: Leg, policy: Policy, target: int, pace: float) -> State:
        """Train a leg, and return the state with the attempt, which is kept.

        Args:
            state: Where the run stands.
            leg: The next leg.
            policy: What the model is cut by before it.
            target: Number of the policy that this is on the way to.
            pace: Share of the schedule's learning rate, in this leg alone.

        Raises:
            OutputError: If a checkpoint cannot be written.
        """
        candidate = None
        try:
            with candidate_errors():
                candidate = self.onward(state, policy)
                training = _tuning(candidate)
                training.set_pace(pace)
                found = candidate.reach(leg.end)
                training.set_pace(1.0)
        except CandidateError as err:
            attempt = Attempt(
                policy=policy,
                target=target,
                sample_forwards=candidate.sample_forwards if candidate else 0.0,
                seconds=candidate.seconds if candidate else 0.0,
                problem=str(err),
            )
            return self.states.keep(state.tried(attempt))
        file, sha256 = self.states.write(training.state_dict(), state.leg, len(state.attempts))
        attempt = Attempt(
            policy=policy,
            target=target,
            sample_forwards=candidate.sample_forwards,
            seconds=candidate.seconds,
            stage=candidate.stages[-1],
            loss=found.loss,
            file=file,
            sha256=sha256,
        )
        return self.states.keep(state.tried(attempt))

    def onward(self, state: State, policy: Policy) -> Candidate:
        """Return the model of a policy as it goes on from what was accepted last."""
        before = None
        if state.accepted is not None:
            stored = self.states.read(state.accepted.file, self.scorer.device)
            before = Reached(state.accepted.policy, stored)
        return onward(self.scorer, policy, self.scorer.recovery.recover_steps, before)


def _tuning(candidate: Candidate) -> FineTuning:
    assert isinstance(candidate.training, FineTuning)
    return candidate.training
