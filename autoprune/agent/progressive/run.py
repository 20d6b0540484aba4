"""A progressive run: legs of training, a cut before each, judged, gone on from or taken back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autoprune.agent.progressive.judged import Judged, is_worse, judged
from autoprune.agent.progressive.state import Attempt, State
from autoprune.agent.progressive.states import States
from autoprune.agent.progressive.trainer import Trainer
from autoprune.agent.progressive.way import Way
from autoprune.agent.projection import Projection
from autoprune.agent.regret import LEVEL
from autoprune.core.costs import cost_text
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.progressive import Leg, first_parts, legs, with_smaller_step
from autoprune.core.recovery import Recovery
from autoprune.errors import ModelError

_WOBBLE = 2.0  # points of quality that a leg of training may lose by chance


@dataclass(frozen=True)
class ProgressiveRun:
    """Cuts towards the first of some targets; the others are the alternatives to each step.

    Args:
        trainer: Trains, and keeps where the run stands.
        projection: The limits, and what knows costs.
        targets: Policies inside the limits, the best one first.
        quality: Quality of the dense model on the search split.
        progress: Told after each attempt.
    """

    trainer: Trainer
    projection: Projection
    targets: Sequence[Policy]
    quality: float
    progress: ProgressCallback

    def run(self) -> State:
        """Go on from where the run stands to its end.

        Raises:
            ModelError: If no attempt at a leg could be trained, however small its step.
        """
        state = self._states.last() or State(parts=first_parts(self._recovery.prune_rounds))
        while state.leg < len(self._legs(state)):
            attempt = next(self._open(state), None)
            if attempt is None:
                state = self._decided(state)
            else:
                state = self.trainer.tried(state, self._leg(state), *attempt)
                self._tell(state)
        return state

    @property
    def _states(self) -> States:
        return self.trainer.states

    @property
    def _recovery(self) -> Recovery:
        return self.trainer.scorer.recovery

    @property
    def _way(self) -> Way:
        return Way(self.projection, self._recovery.prune_spacing)

    def _legs(self, state: State) -> list[Leg]:
        own = self._recovery
        return legs(state.parts, own.prune_rounds, own.prune_until, own.recover_steps)

    def _leg(self, state: State) -> Leg:
        return self._legs(state)[state.leg]

    def _cuts(self, state: State) -> bool:
        return self._leg(state).part > state.part

    def _open(self, state: State) -> Iterator[tuple[Policy, int, float]]:
        """Yield attempts at the next leg that are still to be made, alike ones once.

        Each is a policy, the number of its target, and the share of the learning rate it gets.
        """
        if not self._cuts(state):
            yield from self._trained_again(state)
            return
        target = state.accepted.target if state.accepted else 0
        others = [at for at in range(len(self.targets)) if at != target and at not in state.out]
        before = state.accepted.policy if state.accepted else None
        known = {one.target for one in state.attempts}
        policies = [one.policy for one in state.attempts]
        for at in (target, *others):
            if at not in known:
                policy = self._way.towards(self.targets[at], before, self._leg(state).part)
                if policy not in policies and self._way.alike(policy, policies):
                    yield policy, at, 1.0

    def _trained_again(self, state: State) -> Iterator[tuple[Policy, int, float]]:
        """Yield the leg as it is, and where it did harm again with a lower rate."""
        accepted, count = state.accepted, len(state.attempts)
        assert accepted is not None
        harmed = all(_harmed(one, accepted) for one in state.attempts)
        if count == 0 or (harmed and count < max(self._recovery.finalists, 2)):
            yield accepted.policy, accepted.target, 0.5**count

    def _decided(self, state: State) -> State:
        """Go on from the best attempt, or take a smaller step from where the last one began."""
        found = self._judged(state)
        smaller = self._smaller(state) if self._harmful(state, found.best) else None
        if smaller is not None:
            self._tell(state, "taken back, a smaller step is tried")
            return self._states.keep(replace(state, parts=smaller, attempts=()), found.entries)
        if found.best is None:
            self._states.keep(replace(state, attempts=()))  # whoever resumes tries again
            raise self._stuck(state)
        out = tuple(sorted({*state.out, *found.worse}))
        part, keep = self._leg(state).part, self._recovery.keep_checkpoints
        gone_on = replace(state, out=out).gone_on(found.best, part, keep)
        return self._states.keep(gone_on, found.entries)

    def _judged(self, state: State) -> Judged:
        if self._cuts(state):
            return judged(state.attempts, self.projection, state.leg + 1)
        fine = [one for one in state.attempts if one.stage is not None]
        best = fine[0] if fine else None
        for other in fine[1:]:
            if best is not None and is_worse(best, other, LEVEL / (len(fine) - 1)):
                best = other
        return Judged(best, frozenset(), ())

    def _smaller(self, state: State) -> tuple[float, ...] | None:
        """Return the parts with a smaller step, None where there is none or no time for it."""
        rounds, steps = self._recovery.prune_rounds, self._recovery.recover_steps
        if not self._cuts(state):
            return None
        parts = with_smaller_step(state.parts, state.leg, rounds)
        if parts is None:
            return None
        last = self._legs(replace(state, parts=parts))[len(parts) - 1]
        return parts if last.end > last.start or not steps else None

    def _harmful(self, state: State, best: Attempt | None) -> bool:
        """Tell whether nothing could be trained, or the best lost too much."""
        if best is None:
            return True
        before = state.accepted.quality if state.accepted else self.quality
        return 100 * (before - best.quality) > self._recovery.max_step_drop

    def _stuck(self, state: State) -> ModelError:
        """Return what says how far the run got."""
        problem = next(one.problem for one in state.attempts if one.problem)
        accepted = state.accepted
        policy = accepted.policy if accepted else Policy({})
        found = self.projection.costs_of(policy).as_dict()
        costs = ", ".join(
            f"{name} {cost_text(name, found[name])}" for name in self.projection.budget.limits
        )
        return ModelError(
            f"The progressive run could not go on from {costs} (step {state.leg + 1}): no attempt "
            f"could be trained. The last problem: {problem} Lower recovery.learning_rate, or set "
            "recovery.schedule to one-shot, and start afresh; or set a higher limit."
        )

    def _tell(self, state: State, note: str = "") -> None:
        total = len(self._legs(state))
        self.progress(
            Progress(
                stage="recover",
                done=min(state.leg + 1, total),
                total=total,
                note=note or self._note(state),
            )
        )

    def _note(self, state: State) -> str:
        """Return what the last attempt did, and what it came to."""
        last, number = state.attempts[-1], len(state.attempts)
        what = f"cut to {self._share(last.policy)}" if self._cuts(state) else "trained"
        again = "alternative" if self._cuts(state) else "at a lower rate"
        which = f" ({again} {number - 1})" if number > 1 else ""
        return f"{what}{which}: {last.problem or f'{last.quality:.2%}'}"

    def _share(self, policy: Policy) -> str:
        """Return what is left of the first cost that is limited."""
        name = next(iter(self.projection.budget.limits))
        found, dense = self.projection.costs_of(policy), self.projection.cost.dense
        return f"{found.as_dict()[name] / dense.as_dict()[name]:.0%} of {name}"


def _harmed(attempt: Attempt, before: Attempt) -> bool:
    """Tell whether a leg of training failed or did harm: more than rates and batches explain."""
    if attempt.stage is None:
        return True
    lost = 100 * (before.quality - attempt.quality)
    return lost > _WOBBLE and is_worse(attempt, before, LEVEL)
