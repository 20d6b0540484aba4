"""What is learnt from alternatives to decisions of the best policy, and kept in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.trial import Trial

from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.rollback.regret import examined
from autoprune.agent.samplers.attributes import REGRET, examined_by, expected_of
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation


@dataclass(frozen=True)
class Rollback:
    """Judges alternatives once they are scored; the sampler learns of it from their trials.

    Args:
        ledger: Where every decision that was examined is kept.
        projection: What knows costs.
    """

    ledger: Ledger
    projection: Projection

    def judge_all(
        self, ended: Sequence[tuple[Trial, Evaluation]], scored: Mapping[str, Evaluation]
    ) -> list[LedgerEntry | None]:
        """Judge the alternatives among trials, None for what is none, and keep what came of them.

        They are judged before the trials are told, so what ended is in the ledger. After a crash
        in between they are judged again, in other trials: that changes nothing.

        Args:
            ended: Trials with their evaluations.
            scored: Evaluations by fingerprint of the policy, those of the decisions among them.
        """
        found = [self._judged(trial, after, scored) for trial, after in ended]
        self.ledger.add_all([entry for entry in found if entry is not None])
        return found

    def _judged(
        self, trial: Trial, after: Evaluation, scored: Mapping[str, Evaluation]
    ) -> LedgerEntry | None:
        """Judge the alternative of a trial, None if it is none."""
        attributes = trial.user_attrs
        decision = examined_by(attributes, self._encoding)
        if decision is None:
            return None
        before = scored.get(self._encoding.policy(decision.row).fingerprint)
        if before is None or before.score is None:
            return None
        names = list(self._encoding.spaces)
        return examined(
            tuple(names[at] for at in decision.units),
            before,
            after,
            self.projection,
            expected_of(attributes),
        )

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.projection.spaces)


def told(entry: LedgerEntry | None) -> dict[str, Any]:
    """Return the attributes by which a trial tells samplers what came of an alternative."""
    if entry is None:
        return {}
    reverted = entry.outcome is Outcome.REVERTED
    return {REGRET: {"reverted": reverted, "outcome": str(entry.outcome)}}
