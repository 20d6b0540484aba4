"""What a progressive run says of itself: progress, steps, entries of the ledger, its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.progressive.state import Attempt, State
from autoprune.agent.rollback.regret import costs_in
from autoprune.core.costs import cost_text
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.mappings import differing
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.progressive import Leg, Step, StepOutcome
from autoprune.errors import ModelError
from autoprune.tasks import Task
from autoprune.tasks.base import yardstick_of


@dataclass(frozen=True)
class Telling:
    """Words and numbers for people.

    Args:
        projection: The limits, and what knows costs.
        progress: Told after each attempt.
        task: Knows how its metric is shown.
    """

    projection: Projection
    progress: ProgressCallback
    task: Task

    def tried(self, state: State, legs: list[Leg], cuts: bool) -> None:
        """Tell what the last attempt did, what it came to, and how long the rest takes."""
        last, number, leg = state.attempts[-1], len(state.attempts), legs[state.leg]
        what = f"cut to {self._share(last.policy)}" if cuts else "trained"
        again = "alternative" if cuts else "at a lower rate"
        which = f" ({again} {number - 1})" if number > 1 else ""
        note = f"{what}{which}: {last.problem or yardstick_of(self.task).text(last.quality)}"
        pace = last.seconds / max(leg.end - leg.start, 1)
        left = None if cuts else pace * (legs[-1].end - leg.end)  # legs that cut are no measure
        self.say(state.leg + 1, len(legs), note, left)

    def say(self, done: int, total: int, note: str, left: float | None = None) -> None:
        """Tell something, with how many legs are done and the seconds that are left."""
        self.progress(
            Progress(stage="recover", done=done, total=total, note=note, seconds_left=left)
        )

    def step(self, state: State, leg: Leg, best: Attempt | None, outcome: StepOutcome) -> Step:
        """Return what became of a leg.

        Args:
            state: Where the run stood before it, with all attempts.
            leg: The leg.
            best: The best attempt; None if all failed.
            outcome: What became of it.
        """
        shown = best or state.attempts[-1]
        return Step(
            training_steps=leg.end,
            used=self._used(shown.policy),
            quality=None if best is None else best.quality,
            attempts=len(state.attempts),
            outcome=outcome,
        )

    def too_far(self, state: State, best: Attempt | None, quality: float) -> list[LedgerEntry]:
        """Return what the ledger is told of a step that is taken back for a smaller one.

        Args:
            state: Where the run stood before it.
            best: The best attempt; None if all failed, which the ledger has no scores for.
            quality: Quality of the dense model on the search split.
        """
        if best is None or best.stage is None:
            return []
        before, start = state.accepted, state.policy
        entry = LedgerEntry(
            units=tuple(differing(best.policy, start)),
            policy=best.policy,
            alternative=start,
            outcome=Outcome.TOO_FAR,
            expected_regret=None,
            score_before=best.stage.value,
            score_after=before.stage.value if before and before.stage else None,
            quality_before=best.quality,
            quality_after=before.quality if before else quality,
            costs_before=costs_in(self.projection, best.policy),
            costs_after=costs_in(self.projection, start),
            p_value=None,
            threshold=0.0,
            sample_forwards=0.0,  # of no alternative; the run counts what the step took
            step=state.leg + 1,
        )
        return [entry]

    def stuck(self, state: State) -> ModelError:
        """Return what says how far the run got."""
        problem = next(one.problem for one in reversed(state.attempts) if one.problem)
        found = self.projection.costs_of(state.policy).as_dict()
        costs = ", ".join(
            f"{name} {cost_text(name, found[name])}" for name in self.projection.budget.limits
        )
        return ModelError(
            f"The progressive run could not go on from {costs} (step {state.leg + 1}): no attempt "
            f"could be trained. The last problem: {problem} Lower recovery.learning_rate, or set "
            "recovery.schedule to one-shot, and start afresh; or set a higher limit."
        )

    def _used(self, policy: Policy) -> dict[str, float]:
        found = self.projection.costs_of(policy).as_dict()
        dense = self.projection.cost.dense.as_dict()
        return {name: found[name] / dense[name] for name in self.projection.budget.limits}

    def _share(self, policy: Policy) -> str:
        """Return what is left of the first cost that is limited."""
        name, share = next(iter(self._used(policy).items()))
        return f"{share:.0%} of {name}"


def outcome_of(
    attempts: Sequence[Attempt], best: Attempt | None, cuts: bool, harmful: bool, smaller: bool
) -> StepOutcome:
    """Return what became of a leg.

    Args:
        attempts: All attempts at it.
        best: The best of them; None if all failed.
        cuts: Whether it cuts.
        harmful: Whether the best lost too much.
        smaller: Whether it is taken back for a smaller step.
    """
    if smaller:
        return StepOutcome.FAILED if best is None else StepOutcome.SMALLER
    first = best is attempts[0]
    if cuts and harmful:
        return StepOutcome.FAR
    if cuts and attempts[0].stage is None:
        return StepOutcome.REPLACED
    if cuts:
        return StepOutcome.CUT if first else StepOutcome.OTHER
    return StepOutcome.TRAINED if first else StepOutcome.SLOWER
