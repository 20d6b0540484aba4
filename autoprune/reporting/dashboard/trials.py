"""Trials as people look at them: which are inside the budget, which is best, what is notable."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.agent.samplers.attributes import EXAMINES, was_reverted
from autoprune.core.policy import Policy
from autoprune.reporting.dashboard.facts import Facts
from autoprune.reporting.dashboard.names import plain, shown_params
from autoprune.reporting.secrets import without_secrets
from autoprune.storage.own_trials import AGENT
from autoprune.storage.study_trials import ABANDONED

_LEGACY = "constraints"  # system attribute that optuna-dashboard reads, a list
_NAMED = "constraints:"  # begins those that Optuna writes
_INSIDE = "inside the budget"
_HIDDEN = {AGENT, EXAMINES, "costs"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Trials of a study.

    Args:
        facts: What is known of the study.
        directions: Its objectives.
        trials: Its trials as they are stored.
        before: The same some moments ago: what was worked out then need not be again.
    """

    facts: Facts
    directions: Sequence[StudyDirection]
    trials: Sequence[FrozenTrial]
    before: InitVar["Shown | None"] = None
    _policies: dict[int, Policy] = field(default_factory=dict)
    _shown: dict[int, tuple[FrozenTrial, dict[str, float], FrozenTrial]] = field(
        default_factory=dict
    )

    def __post_init__(self, before: "Shown | None") -> None:
        if before is not None and before.facts.limits.spaces == self.facts.limits.spaces:
            self._policies.update(before._policies)
            self._shown.update(before._shown)

    def is_as(self, before: "Shown") -> bool:
        """Tell whether nothing has changed since some moments ago."""
        same = len(self.trials) == len(before.trials) and self.facts == before.facts
        pairs = zip(self.trials, before.trials, strict=False)
        return same and all(one is other for one, other in pairs)

    @cached_property
    def policies(self) -> dict[int, Policy]:
        """The policy of each trial, by number; empty where levels say nothing."""
        for trial in self.trials:
            if trial.number not in self._policies:
                policy = self.facts.limits.policy(trial)
                if policy is not None:
                    self._policies[trial.number] = policy
        return self._policies

    def excess(self, trial: FrozenTrial) -> dict[str, float]:
        """Return by how much of each limit a trial is over it; see `AimedLimits.excess`."""
        return self.facts.limits.excess(trial, self.policies.get(trial.number))

    def is_inside(self, trial: FrozenTrial) -> bool:
        """Tell whether a trial is inside the budget, by all that is known of it."""
        return not any(over > 0 for over in self.excess(trial).values())

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        """Trials that have a value and are inside the budget."""
        return [
            one for one in self.trials if one.state == TrialState.COMPLETE and self.is_inside(one)
        ]

    @cached_property
    def returned(self) -> list[FrozenTrial]:
        """The trials whose policies the run returned, the first of each."""
        wanted = {one.fingerprint for one in self.facts.returned}
        first: dict[str, FrozenTrial] = {}
        for trial in self.trials:
            policy = self.policies.get(trial.number)
            if policy is not None and policy.fingerprint in wanted:
                first.setdefault(policy.fingerprint, trial)
        return list(first.values())

    @cached_property
    def best(self) -> list[FrozenTrial]:
        """What was returned; before that the best by score, or the front of scores and costs."""
        if self.returned:
            return self.returned
        if len(self.directions) == 1:
            return self.leading
        signs = [-1 if one == StudyDirection.MAXIMIZE else 1 for one in self.directions]
        found = [np.multiply(signs, one.values) for one in self.complete]
        return [one for one, at in zip(self.complete, _front(found), strict=True) if at]

    @cached_property
    def leading(self) -> list[FrozenTrial]:
        """The best trial by its first value alone; empty without any."""
        highest = self.directions[0] == StudyDirection.MAXIMIZE
        pick = max if highest else min
        return [pick(self.complete, key=lambda one: one.values[0])] if self.complete else []

    def shown(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial under readable names, with what optuna-dashboard reads constraints of."""
        excess = self.excess(trial)
        stored, known, found = self._shown.get(trial.number, (None, None, None))
        if found is None or stored is not trial or known != excess:
            found = self._made(trial, excess)
            self._shown[trial.number] = trial, excess, found
        return found

    def _made(self, trial: FrozenTrial, excess: Mapping[str, float]) -> FrozenTrial:
        found = copy(trial)
        names = shown_params(trial.params, trial.distributions, self.facts.limits.spaces)
        found.params, found.distributions = names
        found.user_attrs = {**_told(trial), **self._inside(excess)}
        kept = {n: v for n, v in trial.system_attrs.items() if not n.startswith(_NAMED)}
        written = create_trial(state=TrialState.RUNNING, constraints=dict(excess)).system_attrs
        found.system_attrs = {**kept, **written}
        if excess:
            found.system_attrs[_LEGACY] = list(excess.values())
        return found

    def _inside(self, excess: Mapping[str, float]) -> dict[str, Any]:
        if not excess:
            return {}
        over = {cost: by for cost, by in excess.items() if by > 0}
        told = ", ".join(f"{plain(cost)} is over by {by:.1%}" for cost, by in over.items())
        return {_INSIDE: f"no: {told}" if told else "yes"}


def _told(trial: FrozenTrial) -> dict[str, Any]:
    """Return the user attributes of a trial, its costs one by one."""
    shown = without_secrets(trial.user_attrs)
    told = {plain(n): v for n, v in shown.items() if n not in _HIDDEN}
    costs = trial.user_attrs.get("costs")
    own = costs.items() if isinstance(costs, dict) else ()
    return told | {plain(cost): amount for cost, amount in own}


def _front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Tell which points no other one is better than, all of them to be low."""
    found = np.array(points, float)
    return [not np.any((found <= one).all(axis=1) & (found < one).any(axis=1)) for one in found]


def is_failed(trial: FrozenTrial) -> bool:
    """Tell whether a trial could not be scored."""
    failed = trial.state == TrialState.FAIL
    return failed and trial.user_attrs.get("outcome") != ABANDONED


def reverted_one(trial: FrozenTrial) -> bool:
    """Tell whether a trial reverted a decision of the best policy, and was better."""
    return bool(was_reverted(trial.user_attrs))
