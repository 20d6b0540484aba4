"""What is learnt from alternatives to decisions of the best policy, and kept in the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.trial import Trial

from autoprune.agent.encoding import Encoding
from autoprune.agent.projection import Projection
from autoprune.agent.regret import examined
from autoprune.agent.samplers.attributes import PREDICTED, REGRET, examined_by
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

    def judge(
        self, trial: Trial, after: Evaluation, scored: Mapping[str, Evaluation]
    ) -> LedgerEntry | None:
        """Judge the alternative of a trial, None if it is none, and keep what came of it.

        It is judged before the trial is told, so what ended is in the ledger. After a crash in
        between it is judged again, in another trial: that changes nothing.

        Args:
            trial: The trial, which is told whether the decision was reverted.
            after: Its evaluation.
            scored: Evaluations by fingerprint of the policy, that of the decision among them.
        """
        attributes = trial.user_attrs
        decision = examined_by(attributes, self._encoding)
        if decision is None:
            return None
        before = scored.get(self._encoding.policy(decision.row).fingerprint)
        if before is None or before.score is None:
            return None
        names = list(self._encoding.spaces)
        entry = examined(
            tuple(names[at] for at in decision.units),
            before,
            after,
            self.projection,
            _expected(attributes),
        )
        reverted = entry.outcome is Outcome.REVERTED
        trial.set_user_attr(REGRET, {"reverted": reverted, "outcome": str(entry.outcome)})
        self.ledger.add(entry)
        return entry

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.projection.spaces)


def _expected(attributes: Mapping[str, Any]) -> float | None:
    said = attributes.get(PREDICTED)
    return float(said["expected"]) if isinstance(said, dict) and "expected" in said else None
