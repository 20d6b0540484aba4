"""From the ranked policies to those whose latency was measured to be inside the budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from autoprune.agent.evaluations import Evaluations
from autoprune.agent.finalists import recover_finalists
from autoprune.agent.gate import Gate
from autoprune.agent.loop import Loop
from autoprune.core.progress import Progress
from autoprune.errors import BudgetError, ModelError
from autoprune.storage.records import Evaluation

TIGHTENED = "tightened"  # what a study remembers, so that a resumed run aims alike
_ROUNDS = 6  # times the limit is aimed at anew before the search gives up
_MORE = 0.25  # of the trials, scored anew after the limit was aimed at anew
_MARGIN = 0.99


@dataclass
class Inside:
    """Measures candidates, best first; where too few are inside it tightens and goes on.

    Latency depends on shapes alone, so it is measured before a finalist is fine-tuned.

    Args:
        gate: What measures.
        loop: What scores policies.
        evaluations: What builds them.
        wanted: How many candidates there should be.
    """

    gate: Gate
    loop: Loop
    evaluations: Evaluations
    wanted: int
    _closest: dict[str, float] = field(default_factory=dict)

    def winner(self) -> tuple[nn.Module, Evaluation, list[Evaluation]]:
        """Search, measure, fine-tune: return the best model, its evaluation, and all finalists.

        Raises:
            BudgetError: If nothing is inside, however much the limits were tightened.
            ModelError: If nothing could be scored or fine-tuned.
        """
        study, projection, loop = self.loop.study, self.loop.projection, self.loop
        earlier = study.user_attrs.get(TIGHTENED, {})
        projection.tightened.update(earlier.get("limits", {}))
        loop.trials = max(loop.trials, earlier.get("trials", 0))
        more = max(round(loop.trials * _MORE), 1)
        for _ in range(_ROUNDS):
            able, self._closest = self._inside(loop.run())
            found = self._recovered(able) if able else None
            if found is not None:
                return found
            try:
                for cost, share in self._closest.items():
                    projection.tighten(cost, _MARGIN / share)
            except BudgetError:  # no policy is priced so low
                break
            loop.trials = len(loop.scored) + more
            aim = {"limits": dict(projection.tightened), "trials": loop.trials}
            study.set_user_attr(TIGHTENED, aim)
            self._tell(self._closest)
        raise BudgetError(
            "No model inside the budget was found: measured, the closest missed "
            f"{_text(self._closest)}. What was scored is kept. Set a higher limit, or resume when "
            "the device is less busy."
        )

    def _recovered(
        self, able: Sequence[Evaluation]
    ) -> tuple[nn.Module, Evaluation, list[Evaluation]] | None:
        """Return the best fine-tuned model, None if none was inside when measured again."""
        try:
            return recover_finalists(able, self.evaluations, self.loop.progress, self._accepts)
        except ModelError:
            if not self._closest:
                raise
            return None

    def _accepts(self, evaluation: Evaluation, model: nn.Module) -> bool:
        """Measure a fine-tuned model: now the median counts, for shapes were inside before."""
        found = self.gate.measure(evaluation.policy.fingerprint, model)
        missed = {cost: one.excess for cost, one in found.items() if one.missed}
        self._closest = missed or self._closest
        return not missed

    def _inside(self, ranked: list[Evaluation]) -> tuple[list[Evaluation], dict[str, float]]:
        """Return the best few that are inside and, if none is, by what the closest missed."""
        found: list[Evaluation] = []
        misses: list[dict[str, float]] = []
        for candidate in ranked:
            excess = self._excess(candidate)
            if excess:
                misses.append(excess)
            else:
                found.append(candidate)
            if len(found) == self.wanted:
                break
        closest = min(misses, key=lambda excess: max(excess.values()), default={})
        return found, {} if found else closest

    def _excess(self, candidate: Evaluation) -> dict[str, float]:
        fingerprint = candidate.policy.fingerprint
        if not self.gate.pairs:
            return {}
        if fingerprint not in self.gate.seen:
            return self.gate.excess(fingerprint, self.evaluations.scorer.build(candidate.policy))
        seen = self.gate.seen[fingerprint]
        return {cost: one.excess for cost, one in seen.items() if one.excess > 1}

    def _tell(self, excess: dict[str, float]) -> None:
        self.loop.progress(
            Progress(
                stage="search",
                done=len(self.loop.scored),
                total=self.loop.trials,
                note=f"measured, every policy missed {_text(excess)}; the search aims lower now",
            )
        )


def _text(excess: dict[str, float]) -> str:
    return " and ".join(f"{cost} by {share - 1:.1%}" for cost, share in excess.items())
