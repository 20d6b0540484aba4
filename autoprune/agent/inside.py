"""From the ranked policies to those whose latency was measured to be inside the budget."""

from dataclasses import dataclass

from torch import nn

from autoprune.agent.evaluations import Evaluations
from autoprune.agent.gate import Gate
from autoprune.agent.loop import Loop
from autoprune.core.progress import Progress
from autoprune.errors import BudgetError
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

    def ranked(self) -> list[Evaluation]:
        """Return what was scored and is inside every limit, lowest loss first.

        Raises:
            BudgetError: If nothing is, however much the limits were tightened.
        """
        if not self.gate.pairs:
            return self.loop.run()
        study, projection = self.loop.study, self.loop.projection
        earlier = study.user_attrs.get(TIGHTENED, {})
        projection.tightened.update(earlier.get("limits", {}))
        self.loop.trials = max(self.loop.trials, earlier.get("trials", 0))
        excess: dict[str, float] = {}
        more = max(round(self.loop.trials * _MORE), 1)
        for _ in range(_ROUNDS):
            found, excess = self._inside(self.loop.run())
            if found:
                return found
            try:
                for cost, share in excess.items():
                    projection.tighten(cost, _MARGIN / share)
            except BudgetError:  # no policy is priced so low
                break
            self.loop.trials = len(self.loop.scored) + more
            aim = {"limits": dict(projection.tightened), "trials": self.loop.trials}
            study.set_user_attr(TIGHTENED, aim)
            self._tell(excess)
        raise BudgetError(
            f"No model inside the budget was found: measured, the closest missed {_text(excess)}. "
            "What was scored is kept. Set a higher limit, or resume when the device is less busy."
        )

    def accepts(self, evaluation: Evaluation, model: nn.Module) -> bool:
        """Tell whether a fine-tuned model is inside, and remember what was measured of it."""
        return not self.gate.excess(evaluation.policy.fingerprint, model)

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
        return found, closest

    def _excess(self, candidate: Evaluation) -> dict[str, float]:
        fingerprint = candidate.policy.fingerprint
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
