"""A score in the making: it pauses at each stage, and may go on in another process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprune.evaluation.measuring.measure import Measurement
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.score import Score


@dataclass
class Making:
    """Takes a candidate from stage to stage; wherever it pauses, the score is the same.

    Args:
        candidate: The model on its way.
        aims: Training steps and share of the search split at each stage, the end last.
        reached: How many of them it has reached.
    """

    candidate: Candidate
    aims: Sequence[tuple[int, float]]
    reached: int = 0
    _found: Measurement | None = None

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.reached == len(self.aims)

    def advance(self) -> None:
        """Train and measure up to the next stage.

        Raises:
            CandidateError: If a loss is NaN or infinite.
            DataError: If a loader fails.
        """
        self._found = self.candidate.reach(*self.aims[self.reached])
        self.reached += 1

    def score(self, stopped: str | None = None) -> Score:
        """Return what was found so far.

        Args:
            stopped: Why it goes no further; None if it has come to its end.
        """
        found = self._found if stopped is None else None
        return Score(
            loss=found.loss if found else None,
            quality=found.quality if found else None,
            sample_forwards=self.candidate.sample_forwards,
            seconds=self.candidate.seconds,
            score=found.score if found else None,
            stages=tuple(self.candidate.stages),
            stopped=stopped,
        )

    def set_pace(self, pace: float) -> None:
        """Train at so many times the schedule's learning rate from here on."""
        self.candidate.tuning.set_pace(pace)

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on, weights included."""
        return {"reached": self.reached, **self.candidate.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, as if there had been no pause, but for some of the cost.

        A part of the search split that was measured there is measured again if the next stage
        takes more of it after the same training steps. Nothing is if the next stage trains first,
        or if the whole split was measured.
        """
        self.reached = state["reached"]
        self.candidate.load_state_dict(state)
