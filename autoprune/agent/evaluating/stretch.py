"""A part of a finalist's training: what a worker is given, and what it gives back."""

import pickle
from dataclasses import dataclass
from typing import Any

import torch

from autoprune.agent.evaluating.outcomes import candidate_errors
from autoprune.core.policy import Policy
from autoprune.core.stages import Stage
from autoprune.errors import CandidateError
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.surgery.nested import map_tensors


@dataclass(frozen=True, slots=True)
class Stretch:
    """A finalist is to be trained from where it stands.

    Args:
        policy: What its model is cut by.
        end: Training steps of its whole way.
        steps: Training steps where the stretch ends, counted from the start.
        state: Where it stands, of `Standing`; None for the start.
    """

    policy: Policy
    end: int
    steps: int
    state: bytes | None

    def do(self, scorer: Scorer) -> "Trained":
        """Train to the end of the stretch, and return where the finalist stands then.

        Raises:
            InputError: If it is not the policy's fault, and the user can mend it.
        """
        candidate = None
        try:
            with candidate_errors():
                candidate = begun(scorer, self.policy, self.end, self.state)
                candidate.reach(self.steps)
                state = _packed(candidate)
        except CandidateError as err:
            return Trained(None if candidate is None else Standing.of(candidate), str(err))
        return Trained(Standing.of(candidate, state))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a finalist's training stands.

    Args:
        done: Training steps so far.
        stages: Where it was measured.
        sample_forwards: Cost so far, in forwards of one sample by the dense model.
        seconds: The same in seconds of wall clock.
        state: All that another process needs to go on; None if it cannot go on, or need not.
    """

    done: int
    stages: tuple[Stage, ...]
    sample_forwards: float
    seconds: float
    state: bytes | None = None

    @classmethod
    def of(cls, candidate: Candidate, state: bytes | None = None) -> "Standing":
        """Return where a candidate stands."""
        return cls(
            candidate.training.done,
            tuple(candidate.stages),
            candidate.sample_forwards,
            candidate.seconds,
            state,
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """What a stretch came to.

    Args:
        standing: Where the finalist stands; None if its model could not be built.
        problem: Why it did not get to the end of the stretch; empty if it did.
    """

    standing: Standing | None
    problem: str = ""


def begun(scorer: Scorer, policy: Policy, end: int, state: bytes | None) -> Candidate:
    """Return a finalist's model in training, at its start or where a state left it."""
    candidate = scorer.candidate(policy, end, final=True, bare=state is not None)
    if state is not None:
        stored = pickle.loads(state)  # ours, of a worker of ours
        candidate.load_state_dict(stored)
        candidate.tuning.good.load_state_dict(stored["good"])
    return candidate


def _packed(candidate: Candidate) -> bytes:
    """Return all that another process needs to go on; it may fall back as far as this one."""
    state: Any = {**candidate.state_dict(), "good": candidate.tuning.good.state_dict()}
    return pickle.dumps(map_tensors(torch.Tensor.cpu, state))
