"""Limits that were tried, and what was found at them: remembered as soon as they are decided."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from optuna import Study

from autoprune.agent.goals.members import Member
from autoprune.agent.latency.gate import Measurement
from autoprune.core.limit import Limit
from autoprune.core.policy import Policy
from autoprune.core.tolerance import Tolerance
from autoprune.cost.latency.observations import Comparison, Timing

_REMEMBERED = "limits tried"  # user attribute of the study


@dataclass(frozen=True, kw_only=True)
class Found:
    """The best model at a limit, fine-tuned.

    Args:
        policy: What it is made by.
        quality: Its quality on the search split.
        amount: What it costs, in the unit of the limit.
        share: What it costs, as a share of the dense model.
        weights: Name of the file of its weights.
        measured: Its latency by cost.
    """

    policy: Policy
    quality: float
    amount: float
    share: float
    weights: str = ""
    measured: Mapping[str, Comparison] = field(default_factory=dict)

    @classmethod
    def of(cls, member: Member, limit: Limit, cost: str) -> "Found":
        """Return a member of a front of one point, with its cost in the unit of the limit."""
        priced = member.projection.costs_of(member.evaluation.policy).as_dict()
        amount = member.measured[cost].pruned_ms if cost in member.measured else priced[cost]
        return cls(
            policy=member.evaluation.policy,
            quality=member.quality,
            amount=member.share if limit.relative else amount,
            share=member.share,
            weights=member.evaluation.weights or "",
            measured={name: one.comparison for name, one in member.measured.items()},
        )

    def measurements(self, limits: Mapping[str, Limit]) -> dict[str, Measurement]:
        """Return its latency by cost beside these limits."""
        return {name: Measurement(one, limits[name]) for name, one in self.measured.items()}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One limit that was tried.

    Args:
        limit: The limit.
        trials: As many were asked for in all when it was tried.
        evaluations: Policies that had been scored by its end.
        found: The best model; None if there was none.
        reason: Why there was none.
    """

    limit: Limit
    trials: int
    evaluations: int
    found: Found | None = None
    reason: str = ""

    def holds(self, tolerance: Tolerance, dense: float) -> bool:
        """Tell whether its model is within the drop from the dense model's quality."""
        return self.found is not None and tolerance.holds(dense, self.found.quality)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        found = self.found and asdict(self.found) | {"policy": self.found.policy.to_dict()}
        return asdict(self) | {"found": found}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Attempt":
        """Return what `to_dict` was called on."""
        found = stored["found"] and _found(stored["found"])
        return cls(**{**stored, "limit": Limit(**stored["limit"]), "found": found})


def remember(study: Study, tried: Sequence[Attempt]) -> None:
    """Keep what was tried with the study, so that a resumed search goes on from there."""
    study.set_user_attr(_REMEMBERED, [one.to_dict() for one in tried])


def remembered(study: Study) -> list[Attempt]:
    """Return what earlier sessions tried, oldest first."""
    return [Attempt.from_dict(one) for one in study.user_attrs.get(_REMEMBERED, ())]


def _found(stored: Mapping[str, Any]) -> Found:
    measured = {name: _comparison(one) for name, one in stored["measured"].items()}
    return Found(**{**stored, "policy": Policy.from_dict(stored["policy"]), "measured": measured})


def _comparison(stored: Mapping[str, Any]) -> Comparison:
    timings = {name: Timing(**stored[name]) for name in ("dense", "pruned")}
    return Comparison(**{**stored, **timings})
