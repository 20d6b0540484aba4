"""One limit after the other, lower where the drop held and higher where it did not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.goals.attempts import Attempt, Found, remember, remembered
from autoprune.agent.goals.members import best_at
from autoprune.agent.latency.gate import Gate
from autoprune.agent.loop.loop import Loop
from autoprune.agent.session import Session
from autoprune.artifacts.goal import Ended
from autoprune.core.bisection import Bisection, Tried
from autoprune.core.budget import Budget
from autoprune.core.limit import Limit, limit_text
from autoprune.core.progress import Progress
from autoprune.core.tolerance import Tolerance
from autoprune.errors import BudgetError, ModelError, OutOfMemoryError

_LEAST = 2  # trials of a limit: the best policy by the table, and another one


@dataclass
class Descent:
    """Looks for the smallest model within a drop; what is scored at one limit counts at all.

    Args:
        session: The search.
        tolerance: What is asked for.
        loop: What scores policies.
        gate: What measures latency.
        tried: What was tried so far, in earlier sessions too.
    """

    session: Session
    tolerance: Tolerance
    loop: Loop
    gate: Gate
    tried: list[Attempt] = field(default_factory=list)

    def run(self) -> Ended:
        """Go on from where the study stands; return why it came to an end."""
        self.loop.recall()
        self.tried = remembered(self.session.study)
        while (limit := self.bisection.next) is not None:
            if self._begun >= self.session.request.trials:
                return "trials"
            if self.loop.late:
                return "time"
            self.tried.append(self._attempt(limit))
            if self.loop.late and not self._holds(self.tried[-1]):
                return "time"  # it failed for want of time, which is nothing to remember
            remember(self.session.study, self.tried)
        return "narrow"

    @property
    def bisection(self) -> Bisection:
        """What is known; a failure with fewer trials than are asked for now may be undone.

        Of such failures those at the highest limit are, once the bracket is narrow.
        """
        known = self.tried
        while (every := self._bisection(known)).next is None:
            stale = self._stale(known, every.high)
            if not stale:
                break
            known = [one for one in known if self._holds(one) or one.limit.amount != max(stale)]
        return every

    def _stale(self, known: Sequence[Attempt], high: float) -> set[float]:
        """Return limits that failed, never with as many trials as are asked for now."""
        wanted = self.session.request.trials
        failed = [one for one in known if one.limit.amount < high and not self._holds(one)]
        fresh = {one.limit.amount for one in failed if one.trials >= wanted}
        return {one.limit.amount for one in failed} - fresh

    @property
    def smallest(self) -> Attempt | None:
        """The smallest model that was measured within the drop, None if there is none."""
        held = [(one.found.amount, one) for one in self.tried if one.found and self._holds(one)]
        return min(held, key=lambda pair: pair[0])[1] if held else None

    @property
    def best(self) -> Attempt | None:
        """What drops least, None if nothing was found."""
        found = [(one.found.quality, one) for one in self.tried if one.found]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def budget(self, limit: Limit) -> Budget:
        """Return the budget with a limit of its own on what is to be low."""
        return Budget(self.session.request.budget.limits | {self.tolerance.cost: limit})

    def _attempt(self, amount: float) -> Attempt:
        """Search at one limit."""
        limit, trials = replace(self._highest, amount=amount), self.session.request.trials
        target = self._target()
        self._tell(limit, target)
        found, reason = None, ""
        try:
            found = self._found(limit, target)
        except OutOfMemoryError:
            raise
        except (BudgetError, ModelError) as err:
            reason = str(err)
        evaluations = max(len(self.loop.scored), self._begun)
        return Attempt(
            limit=limit, trials=trials, evaluations=evaluations, found=found, reason=reason
        )

    def _found(self, limit: Limit, target: int) -> Found:
        session, number = self.session, len(self.tried) + 1
        projection = session.prepared.pricing.inside(self.budget(limit))
        self.gate = self.gate.under(projection.budget)
        self.loop.sampler = session.proposers.at_limit(projection, number, self._begun)
        self.loop.trials = target
        member = best_at(session, self.loop, self.gate, number, target - self._begun)
        return Found.of(member, limit, self.tolerance.cost)

    def _target(self) -> int:
        """Return how many are to be scored in all: what is left is shared evenly by limits."""
        left = self.session.request.trials - self._begun
        share = max(math.ceil(left / self.bisection.left), _LEAST)
        return self._begun + min(share, left)

    def _bisection(self, tried: Sequence[Attempt]) -> Bisection:
        least, most = self._reachable, self._highest.amount
        known = [Tried(one.limit.amount, self._amount(one)) for one in tried]
        return Bisection(least, most, known)

    def _amount(self, one: Attempt) -> float | None:
        return one.found.amount if one.found and self._holds(one) else None

    def _holds(self, one: Attempt) -> bool:
        return one.holds(self.tolerance, self.session.prepared.dense_quality)

    @property
    def _begun(self) -> int:
        """How many policies were scored before the limit that is tried now."""
        return self.tried[-1].evaluations if self.tried else 0

    @property
    def _projection(self) -> Projection:
        return self.session.prepared.projection

    @property
    def _highest(self) -> Limit:
        return self._projection.budget.limits[self.tolerance.cost]

    @property
    def _reachable(self) -> float:
        """The lowest amount of the cost that can be reached, in the unit of the limits."""
        least = self._projection.reachable(self.tolerance.cost)
        whole = self._projection.cost.dense.as_dict()[self.tolerance.cost]
        return least / whole if self._highest.relative else least

    def _tell(self, limit: Limit, target: int) -> None:
        best = self.smallest
        known = f"{best.found.share:.1%} of dense is within" if best and best.found else "none yet"
        name = limit_text(self.tolerance.cost, limit)
        note = f"limit {len(self.tried) + 1}: {name} ({self.tolerance.text}: {known})"
        done = min(len(self.loop.scored), target)
        self.session.request.progress(Progress(stage="search", done=done, total=target, note=note))
