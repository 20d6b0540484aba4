"""The ledger: what became of each decision that was examined."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from autoprune.core.mappings import differing
from autoprune.core.policy import Policy

ROLLBACK = 0.5  # share of the proposals, at most, that examine a decision


class Outcome(StrEnum):
    """What became of a decision; the value is the sentence that is shown."""

    REVERTED = "reverted: the alternative is better on the same samples"
    NOISE = "kept: the alternative is no worse, but that may be noise"
    WORSE = "kept: the alternative is worse"
    STOPPED = "kept: the alternative was stopped early, as worse"
    FAILED = "kept: the alternative could not be scored"
    TOO_FAR = "taken back to where the step began: it lost too much, and a smaller one follows"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One decision of a policy, and what was scored in its place.

    Args:
        units: Whose choices were examined: one unit or two together, at a step of a progressive
            run all that it cuts deeper than the alternative does.
        policy: The policy that made the decision.
        alternative: What does not make it and costs about as much; where a step of a progressive
            run went too far, the policy that it began from.
        outcome: What became of it.
        expected_regret: Score that the predictor expected to be regained; None without one.
        score_before: Score of the policy, lower is better.
        score_after: Score of the alternative; None where it has none.
        quality_before: Quality of the policy.
        quality_after: Quality of the alternative; None where it has none.
        costs_before: Costs of the policy by name.
        costs_after: Costs of the alternative by name.
        p_value: Chance of such a gain without any difference, one-sided, paired by samples; None
            where that cannot be told.
        threshold: What ``p_value`` must be below: the level of all alternatives to the policy,
            shared out between them (Bonferroni); 0 where there is no test.
        sample_forwards: What it took, in forwards of one sample by the dense model.
        step: Which step of a progressive run it was examined at, from 1; 0 in the search.
    """

    units: tuple[str, ...]
    policy: Policy
    alternative: Policy
    outcome: Outcome
    expected_regret: float | None
    score_before: float
    score_after: float | None
    quality_before: float
    quality_after: float | None
    costs_before: Mapping[str, float]
    costs_after: Mapping[str, float]
    p_value: float | None
    threshold: float
    sample_forwards: float
    step: int = 0

    @property
    def regret(self) -> float | None:
        """Score given up by the decision against the alternative; negative where it was right."""
        return None if self.score_after is None else self.score_before - self.score_after

    @property
    def paid_by(self) -> tuple[str, ...]:
        """Units that the alternative cuts in another way, beside those of the decision."""
        changed = differing(self.policy, self.alternative)
        return tuple(unit for unit in changed if unit not in self.units)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, the regret and the sentence of the outcome among them."""
        return asdict(self) | {
            "units": list(self.units),
            "policy": self.policy.to_dict(),
            "alternative": self.alternative.to_dict(),
            "outcome": self.outcome.name.lower(),
            "sentence": self.outcome.value,
            "regret": self.regret,
            "paid_by": list(self.paid_by),
        }
