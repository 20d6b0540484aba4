"""From the ranked policies to those whose latency was measured to be inside the budget."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna import Study
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.race import Recover, Recovered, recover_finalists
from autoprune.agent.housing.described import MEASURED, TIGHTENED
from autoprune.agent.latency.gate import Gate, Measurement, exceeded, told, told_misses
from autoprune.agent.loop.loop import Loop
from autoprune.core.progress import Progress
from autoprune.errors import BudgetError, ModelError, OutOfMemoryError
from autoprune.storage.records import Evaluation

_ROUNDS = 6  # aims, the limit itself first, before the search gives up
_MORE = 0.25  # of the trials of a limit, scored anew after the limit was aimed at anew
_MARGIN = 0.99
_MOST_MISSES = 12  # models measured in vain before the aim is lowered


@dataclass
class Inside:
    """Measures candidates, best first; where too few are inside it tightens and goes on.

    Latency depends on shapes alone, so it is measured before a finalist is fine-tuned. The study
    remembers lowered limits, so that a resumed run aims alike, and tells people what was measured:
    by fingerprint of the policy and by cost whether it is ``over`` the limit, the share ``by``
    which its interval ends above it, and a ``text``.

    Args:
        gate: What measures.
        loop: What scores policies.
        evaluations: What builds them.
        trials: How many of the loop's trials are for this limit.
        name: What the study remembers lowered limits under.
        recover: Fine-tunes the best few.
    """

    gate: Gate
    loop: Loop
    evaluations: Evaluations
    trials: int
    name: str = TIGHTENED
    recover: Recover = recover_finalists
    _misses: list[dict[str, Measurement]] = field(default_factory=list)
    _problem: ModelError | None = None
    _tried: int = 0

    def winner(self) -> Recovered:
        """Search, measure, fine-tune: return the best model and its evaluation.

        Raises:
            BudgetError: If nothing is inside, however much the limits were tightened.
            ModelError: If nothing could be scored or fine-tuned.
        """
        loop = self.loop
        loop.trials = max(loop.trials, aimed_before(loop.study, loop.projection, self.name))
        more = max(round(self.trials * _MORE), 1)
        for left in reversed(range(_ROUNDS)):
            found = self._recovered(loop.run())
            if found is not None:
                return found
            if not left or loop.late or not self._lower(more):
                break
        raise BudgetError(
            "No model inside the budget was found: measured, the closest missed "
            f"{told_misses(self._closest())}. What was scored is kept. Set a higher limit, or "
            "resume when the device is less busy."
        )

    def _lower(self, more: int) -> bool:
        """Aim lower, by what the closest missed, with ``more`` trials; False if that is no use."""
        study, projection, closest = self.loop.study, self.loop.projection, self._closest()
        try:
            for cost, one in closest.items():
                projection.tighten(cost, _MARGIN / one.excess)
        except BudgetError:  # no policy is priced so low
            return False
        # Other limits of a front scored some, too.
        self.loop.trials = max(self.loop.trials, len(self.loop.scored)) + more
        aim = {"limits": dict(projection.tightened), "trials": self.loop.trials}
        study.set_user_attr(self.name, aim)
        self._tell(closest)
        return True

    def _recovered(self, ranked: Sequence[Evaluation]) -> Recovered | None:
        """Return the best fine-tuned model, None if none is inside."""
        self._misses, self._problem, self._tried = [], None, 0
        try:
            return self.recover(
                self._able(ranked), self.evaluations, self.loop.progress, self._accepts
            )
        except OutOfMemoryError:
            raise
        except (BudgetError, ModelError):
            if self._misses or (self._closest() and not self._tried):
                return None
            if self._problem is not None:  # no candidate could be run at all
                raise self._problem from None
            raise

    def _able(self, ranked: Sequence[Evaluation]) -> Iterator[Evaluation]:
        """Yield those that are inside, measured one by one as long as more are asked for.

        What was proposed under a higher aim is left aside: it would be measured in vain.
        """
        aimed = filter(lambda c: self.loop.projection.aims_at(c.policy), ranked)
        if not self.gate.pairs:
            yield from aimed
            return
        for candidate in aimed:
            new = candidate.policy.fingerprint not in self.gate.seen
            try:
                excess = self._excess(candidate)
            except ModelError as err:  # it cannot be exported or run: the next one may
                self._problem = err
                continue
            if not excess:
                self._tried += 1
                yield candidate
            elif new:
                self._misses.append(excess)
            if len(self._misses) >= max(_MOST_MISSES, 2 * self.evaluations.scorer.finalists):
                return

    def _accepts(self, evaluation: Evaluation, model: nn.Module) -> bool:
        """Measure a fine-tuned model: now the median counts, for its shapes were inside before."""
        found = self._measured(evaluation.policy.fingerprint, model)
        missed = {cost: one for cost, one in found.items() if one.missed}
        self._note(evaluation.policy.fingerprint, found, missed)
        if missed:
            self._misses.append(missed)
        return not missed

    def _closest(self) -> dict[str, Measurement]:
        """Return what the model that came closest missed."""
        before = (exceeded(one) for one in self.gate.seen.values())
        known = [missed for missed in self._misses or before if missed]
        return min(known, key=lambda one: max(m.excess for m in one.values()), default={})

    def _excess(self, candidate: Evaluation) -> dict[str, Measurement]:
        name = candidate.policy.fingerprint
        if name not in self.gate.seen:
            found = self._measured(name, self.evaluations.scorer.build(candidate.policy))
            self._note(name, found, exceeded(found))
        return exceeded(self.gate.seen[name])

    def _note(self, name: str, found: Mapping[str, Measurement], over: Container[str]) -> None:
        """Let the study tell what was measured of a policy."""
        if not found:
            return
        key = self.name.replace(TIGHTENED, MEASURED, 1)
        told_of = {
            cost: {"over": cost in over, "by": one.excess - 1, "text": one.text}
            for cost, one in found.items()
        }
        study = self.loop.study
        study.set_user_attr(key, {**study.user_attrs.get(key, {}), name: told_of})

    def _measured(self, name: str, model: nn.Module) -> dict[str, Measurement]:
        """Measure a model, and tell that it begins and what was found."""
        if not self.gate.pairs:
            return {}
        self._tell_measuring(None)
        found = self.gate.measure(name, model)
        self._tell_measuring(f"measured: {told(found)}")
        return found

    def _tell_measuring(self, note: str | None) -> None:
        wanted = max(self.evaluations.scorer.finalists, self._tried)
        self.loop.progress(Progress(stage="measure", done=self._tried, total=wanted, note=note))

    def _tell(self, closest: dict[str, Measurement]) -> None:
        self.loop.progress(
            Progress(
                stage="search",
                done=len(self.loop.scored),
                total=self.loop.trials,
                note=f"no policy was inside; the closest missed {told_misses(closest)}; the "
                "search aims lower now",
            )
        )


def aimed_before(study: Study, projection: Projection, name: str) -> int:
    """Aim where an earlier session did in the end; return for how many trials, 0 if it did not.

    Args:
        study: What remembers it.
        projection: What aims.
        name: What it is remembered under.
    """
    earlier = study.user_attrs.get(name, {})
    projection.tightened.update(earlier.get("limits", {}))
    return int(earlier.get("trials", 0))
