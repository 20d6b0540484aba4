"""When a progressive run cuts, and how far: the legs of the way from dense to the budget."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import ceil
from typing import Any, Literal

Spacing = Literal["linear", "exponential", "cubic"]
_LEAST = 0.1  # of the steps: a leg that only trains is measured and kept, which costs too


class StepOutcome(StrEnum):
    """What became of a step; the value is what is shown."""

    CUT = "cut and trained"
    FAR = "cut and trained; it lost more than max_step_drop, and no smaller step was left"
    OTHER = "cut as another finalist is, which is better on the same samples"
    REPLACED = "cut as another finalist is, for this one's way could not be trained"
    SMALLER = "taken back, it lost too much: a smaller step follows"
    FAILED = "taken back, it could not be trained: a smaller step follows"
    TRAINED = "trained"
    SLOWER = "trained again at a lower rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A leg of a progressive run, and what became of it.

    Args:
        training_steps: Training steps of the run at its end.
        used: Costs that are limited, of what it was cut to, as shares of the dense model's.
        quality: Quality on the search split at its end; None if it could not be trained.
        attempts: How often it was tried, alternatives and lower rates included.
        outcome: What became of it.
    """

    training_steps: int
    used: Mapping[str, float]
    quality: float | None
    attempts: int
    outcome: StepOutcome

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"outcome": self.outcome.name.lower()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Step":
        """Return what `to_dict` was called on."""
        return cls(**{**stored, "outcome": StepOutcome[stored["outcome"].upper()]})


@dataclass(frozen=True, slots=True)
class Leg:
    """A piece of the training, before which more may be cut.

    Args:
        part: Where on the way the model is cut to before it, from 0, dense, to 1, the budget.
        start: Training steps before it.
        end: Training steps after it.
    """

    part: float
    start: int
    end: int


def first_parts(rounds: int) -> tuple[float, ...]:
    """Return the parts of the way that are cut one after the other, as planned at first."""
    return tuple((number + 1) / rounds for number in range(rounds))


def with_smaller_step(parts: Sequence[float], at: int, rounds: int) -> tuple[float, ...] | None:
    """Return parts with one more in the middle of the step to the part number ``at``.

    None where that step is no planned one any more: each is divided once at most.

    Args:
        parts: Parts of the way.
        at: Number of one of them.
        rounds: How many there were at first.
    """
    before = parts[at - 1] if at else 0.0
    if parts[at] - before < 0.75 / rounds:
        return None
    return (*parts[:at], (before + parts[at]) / 2, *parts[at:])


def legs(parts: Sequence[float], rounds: int, until: float, steps: int) -> list[Leg]:
    """Return the legs of a run: short ones that cut, then longer ones that only train.

    Args:
        parts: Parts of the way, rising to 1; more than ``rounds`` where steps became smaller.
        rounds: How many there were at first, which share ``until`` of the steps.
        until: Share of the steps.
        steps: Training steps in all.
    """
    short, long = until * steps / rounds, max(round(until * steps), ceil(_LEAST * steps), 1)
    ends = [min(round(short * (at + 1)), steps) for at in range(len(parts))]
    ends += range(ends[-1] + long, steps, long)
    if ends[-1] < steps:
        ends.append(steps)
    whole = [*parts, *[1.0] * (len(ends) - len(parts))]
    return [Leg(*one) for one in zip(whole, [0, *ends[:-1]], ends, strict=True)]


def allowed(dense: float, part: float, spacing: Spacing) -> float:
    """Return what may be used of a limit at a part of the way, as a multiple of the limit.

    ``linear`` lowers it by the same amount at each step, ``exponential`` by the same factor (de
    Jorge et al. 2020, arXiv:2006.09081, of weights; HALP, Shen et al. 2021, arXiv:2110.10811, of
    latency), ``cubic`` by less and less (AGP, Zhu and Gupta 2017, arXiv:1710.01878).

    Args:
        dense: What the dense model uses of it.
        part: The part, from 0 to 1.
        spacing: How the way is divided.
    """
    if dense <= 1:
        return 1.0
    if spacing == "exponential":
        return float(dense ** (1 - part))
    left = (1 - part) ** (3 if spacing == "cubic" else 1)
    return 1 + (dense - 1) * left
