"""What a policy was found to be worth."""

from dataclasses import dataclass

from autoprune.core.stages import Stage


@dataclass(frozen=True, slots=True)
class Score:
    """What a policy was found to be worth.

    Args:
        loss: Mean loss on the search split after recovery; None if it was stopped early.
        quality: The task's metric on the search split after recovery; None likewise.
        sample_forwards: Cost, in forwards of one sample by the dense model.
        seconds: Cost, in seconds of wall clock.
        score: What ranks candidates, lower is better; None if it was stopped early.
        stages: What was found on the way.
        stopped: Why it was stopped early, None if it was not.
    """

    loss: float | None
    quality: float | None
    sample_forwards: float
    seconds: float
    score: float | None
    stages: tuple[Stage, ...] = ()
    stopped: str | None = None
