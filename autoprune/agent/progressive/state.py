"""Where a progressive run stands between two of its steps: plain JSON, and files of weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoprune.agent.evaluating.outcomes import FAILED, RECOVERED
from autoprune.core.policy import Policy
from autoprune.core.progressive import Step
from autoprune.core.stages import Stage
from autoprune.storage.records import Evaluation


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A leg of the run that was trained, or could not be.

    Args:
        policy: What the model is cut by.
        target: Number of the policy that this is on the way to.
        sample_forwards: What it cost, in forwards of one sample by the dense model.
        seconds: The same in seconds of wall clock.
        stage: What it is worth at its end; None if it failed.
        loss: Loss on the search split at its end.
        problem: Why it failed.
        file: Name of the file that holds the state of the training at its end.
        sha256: SHA-256 of the file.
    """

    policy: Policy
    target: int
    sample_forwards: float
    seconds: float
    stage: Stage | None = None
    loss: float | None = None
    problem: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def quality(self) -> float:
        """Quality on the search split at its end; minus infinity if it failed."""
        if self.stage is None or self.stage.quality is None:
            return float("-inf")
        return self.stage.quality

    @property
    def evaluation(self) -> Evaluation:
        """The same as the evaluation of its policy."""
        return Evaluation(
            self.policy,
            RECOVERED if self.stage else f"{FAILED}: {self.problem}",
            self.loss,
            self.stage.quality if self.stage else None,
            self.sample_forwards,
            self.seconds,
            score=self.stage.value if self.stage else None,
            stages=(self.stage,) if self.stage else (),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        stage = self.stage and self.stage.to_dict()
        return asdict(self) | {"policy": self.policy.to_dict(), "stage": stage}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Attempt":
        """Return what `to_dict` was called on."""
        stage = stored["stage"] and Stage.from_dict(stored["stage"])
        return cls(**{**stored, "policy": Policy.from_dict(stored["policy"]), "stage": stage})


@dataclass(frozen=True, kw_only=True)
class State:
    """Where the run stands.

    Args:
        parts: Parts of the way that are cut one after the other.
        leg: Number of the leg that is next.
        part: Part of the way that is done.
        accepted: What is gone on from; None for the dense model.
        attempts: Attempts at the next leg.
        out: Numbers of targets that were found to be worse.
        stages: What each leg that was gone on from was worth at its end.
        steps: What became of each leg, of those that were taken back too.
        kept: Files of what was gone on from, the last one first.
        sample_forwards: Cost so far, in forwards of one sample by the dense model.
        seconds: Cost so far, in seconds of wall clock.
    """

    parts: tuple[float, ...]
    leg: int = 0
    part: float = 0.0
    accepted: Attempt | None = None
    attempts: tuple[Attempt, ...] = ()
    out: tuple[int, ...] = ()
    stages: tuple[Stage, ...] = ()
    steps: tuple[Step, ...] = ()
    kept: tuple[str, ...] = ()
    sample_forwards: float = 0.0
    seconds: float = 0.0

    @property
    def policy(self) -> Policy:
        """What the model is cut by now; nothing at the start."""
        return self.accepted.policy if self.accepted else Policy({})

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 by name of the files that are needed to go on."""
        points = [self.accepted, *self.attempts]
        return {one.file: one.sha256 for one in points if one is not None and one.file}

    def tried(self, attempt: Attempt) -> "State":
        """Return the state after another attempt at the next leg."""
        return replace(
            self,
            attempts=(*self.attempts, attempt),
            sample_forwards=self.sample_forwards + attempt.sample_forwards,
            seconds=self.seconds + attempt.seconds,
        )

    def taken_back(self, parts: tuple[float, ...], step: Step) -> "State":
        """Return the state before a smaller step."""
        return replace(self, parts=parts, attempts=(), steps=(*self.steps, step))

    def gone_on(self, attempt: Attempt, part: float, keep: int, step: Step) -> "State":
        """Return the state after the leg was taken as an attempt took it."""
        assert attempt.stage is not None
        return replace(
            self,
            leg=self.leg + 1,
            part=part,
            accepted=attempt,
            attempts=(),
            stages=(*self.stages, attempt.stage),
            steps=(*self.steps, step),
            kept=(attempt.file, *self.kept)[:keep],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        lists = {name: list(getattr(self, name)) for name in ("parts", "out", "kept")}
        attempts = [one.to_dict() for one in self.attempts]
        accepted = self.accepted and self.accepted.to_dict()
        stages = [one.to_dict() for one in self.stages]
        steps = [one.to_dict() for one in self.steps]
        own = {"attempts": attempts, "accepted": accepted, "stages": stages, "steps": steps}
        return asdict(self) | lists | own

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "State":
        """Return what `to_dict` was called on."""
        lists = {name: tuple(stored[name]) for name in ("parts", "out", "kept")}
        attempts = tuple(map(Attempt.from_dict, stored["attempts"]))
        accepted = stored["accepted"] and Attempt.from_dict(stored["accepted"])
        stages = tuple(map(Stage.from_dict, stored["stages"]))
        steps = tuple(map(Step.from_dict, stored.get("steps", ())))
        own = {"attempts": attempts, "accepted": accepted, "stages": stages, "steps": steps}
        return cls(**{**stored, **lists, **own})
