"""A progressive run: legs of training, a cut before each, judged, gone on from or taken back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.progressive.judged import Judged, is_worse, judged
from autoprune.agent.progressive.state import Attempt, State
from autoprune.agent.progressive.states import States
from autoprune.agent.progressive.telling import Telling, outcome_of
from autoprune.agent.progressive.trainer import Trainer
from autoprune.agent.progressive.way import Way
from autoprune.agent.rollback.regret import LEVEL
from autoprune.core.policy import Policy
from autoprune.core.progress import ProgressCallback
from autoprune.core.progressive import Leg, first_parts, legs, with_smaller_step
from autoprune.core.recovery import Recovery
from autoprune.core.yardstick import in_points

_WOBBLE = 0.02  # that a leg of training may lose by chance: a share, or of other metrics a part


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
        start = State(parts=first_parts(self._recovery.prune_rounds))
        state, again = self._states.last(start)
        if again > 0:
            note = f"checkpoints are missing or damaged, so the last {again} steps are done again"
            self._telling.say(state.leg, len(self._legs(state)), note)
        while state.leg < len(self._legs(state)):
            attempt = next(self._open(state), None)
            if attempt is None:
                state = self._decided(state)
            else:
                state = self.trainer.tried(state, self._leg(state), *attempt)
                self._telling.tried(state, self._legs(state), self._cuts(state))
        return state

    @property
    def _telling(self) -> Telling:
        return Telling(self.projection, self.progress, self.trainer.scorer.task)

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
        """Tell whether the next leg cuts; where levels are coarse an earlier step may have."""
        part, accepted = self._leg(state).part, state.accepted
        if accepted is None or part == state.part:
            return part > state.part
        target = self.targets[accepted.target]
        return self._way.towards(target, accepted.policy, part) != accepted.policy

    def _open(self, state: State) -> Iterator[tuple[Policy, int, float]]:
        """Yield attempts at the next leg that are still to be made, alike ones once.

        Each is a policy, the number of its target, and the share of the learning rate it gets.
        """
        if not self._cuts(state):
            yield from self._trained_again(state)
            return
        target = state.accepted.target if state.accepted else 0
        others = [at for at in range(len(self.targets)) if at != target and at not in state.out]
        known = {one.target for one in state.attempts}
        policies = [one.policy for one in state.attempts]
        for at in (target, *others):
            if at not in known:
                policy = self._way.towards(self.targets[at], state.policy, self._leg(state).part)
                if policy not in policies and self._way.alike(policy, policies):
                    yield policy, at, 1.0

    def _trained_again(self, state: State) -> Iterator[tuple[Policy, int, float]]:
        """Yield the leg as it is, and where it did harm again with a lower rate."""
        accepted, count = state.accepted, len(state.attempts)
        assert accepted is not None
        is_share = self.trainer.scorer.task.is_share
        harmed = all(_harmed(one, accepted, is_share) for one in state.attempts)
        if count == 0 or (harmed and count < max(self._recovery.finalists_if(halved=False), 2)):
            yield accepted.policy, accepted.target, 0.5**count

    def _decided(self, state: State) -> State:
        """Go on from the best attempt, or take a smaller step from where the last one began."""
        found = self._judged(state)
        harmful = self._harmful(state, found.best)
        smaller = self._smaller(state) if harmful else None
        outcome = outcome_of(
            state.attempts, found.best, self._cuts(state), harmful, smaller is not None
        )
        step = self._telling.step(state, self._leg(state), found.best, outcome)
        if smaller is not None:
            self._telling.say(state.leg, len(self._legs(state)), step.outcome.value)
            more = self._telling.too_far(state, found.best, self.quality)
            return self._states.keep(state.taken_back(smaller, step), [*found.entries, *more])
        if found.best is None:
            self._states.keep(replace(state, attempts=()))  # whoever resumes tries again
            raise self._telling.stuck(state)
        out = tuple(sorted({*state.out, *found.worse}))
        part, keep = self._leg(state).part, self._recovery.keep_checkpoints
        gone_on = replace(state, out=out).gone_on(found.best, part, keep, step)
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
        """Return the parts with a smaller step; None if there is none, or no time for it."""
        rounds, steps = self._recovery.prune_rounds, self._recovery.recover_steps
        if not self._cuts(state):
            return None
        parts = with_smaller_step(state.parts, state.leg, rounds)
        if parts is None:
            return None
        legs = self._legs(replace(state, parts=parts))
        last = legs[len(parts) - 1]
        if last.end == last.start and steps:
            return None
        first = state.attempts[0]
        target = self.targets[first.target]
        policy = self._way.towards(target, state.policy, legs[state.leg].part)
        coarse = policy in (state.policy, first.policy)  # levels do not allow less
        return None if coarse else parts

    def _harmful(self, state: State, best: Attempt | None) -> bool:
        """Tell whether nothing could be trained, or the best lost too much."""
        if best is None:
            return True
        before = state.accepted.quality if state.accepted else self.quality
        is_share = self.trainer.scorer.task.is_share
        return in_points(before - best.quality, is_share) > self._recovery.max_step_drop


def _harmed(attempt: Attempt, before: Attempt, is_share: bool) -> bool:
    """Tell whether a leg of training failed or did harm: more than rates and batches explain."""
    if attempt.stage is None:
        return True
    lost = before.quality - attempt.quality
    wobble = _WOBBLE * (1.0 if is_share else abs(before.quality))
    return lost > wobble and is_worse(attempt, before, LEVEL)
