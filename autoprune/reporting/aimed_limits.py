"""The limits of a run as they are aimed at now, and by how much its trials are over them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.housing.described import TIGHTENED, dense_told, measured_told, spaces_told
from autoprune.agent.housing.reached import has_one_budget
from autoprune.core.budget import Budget
from autoprune.core.policy import Policy
from autoprune.errors import AutopruneError
from autoprune.space.schema import UnitSpace


@dataclass(frozen=True, kw_only=True)
class AimedLimits:
    """What a study and the settings of its run say of limits.

    Proposals are inside; what was measured may not be, and limits that were missed by measurement
    are lowered, for what was proposed before, too.

    Args:
        told: User attributes of the study.
        config: Settings of its run; empty for a study of somebody else.
    """

    told: Mapping[str, Any]
    config: Mapping[str, Any]

    @cached_property
    def spaces(self) -> dict[str, UnitSpace]:
        """What levels stand for, by unit; empty where the study does not say it."""
        return spaces_told(self.told)

    @cached_property
    def dense(self) -> dict[str, float]:
        """Costs of the dense model; empty where the study does not say it."""
        return dense_told(self.told)

    @property
    def one_for_all(self) -> bool:
        """Whether all trials are for one budget, not along a front or on the way to a drop."""
        return has_one_budget(self.config)

    @cached_property
    def now(self) -> dict[str, float]:
        """The limits that are aimed at now, absolute, by cost; empty where that is not known."""
        if not self.one_for_all or not self.dense:
            return {}
        with suppress(AutopruneError, KeyError):
            budget = Budget.parse(self.config.get("budget", {}))
            found = {cost: one.resolve(self.dense[cost]) for cost, one in budget.limits.items()}
            lowered = self.told.get(TIGHTENED, {}).get("limits", {})
            return {cost: limit * lowered.get(cost, 1) for cost, limit in found.items()}
        return {}

    @property
    def lowered(self) -> bool:
        """Whether a limit was missed by measurement, so that the search aims lower."""
        return self.one_for_all and TIGHTENED in self.told

    @property
    def aims(self) -> dict[str, float]:
        """What is aimed at below a limit, absolute, by the costs whose limits were lowered."""
        lowered = self.told.get(TIGHTENED, {}).get("limits", {}) if self.lowered else {}
        return {cost: aim for cost, aim in self.now.items() if lowered.get(cost, 1) < 1}

    @cached_property
    def measured(self) -> Mapping[str, Mapping[str, Any]]:
        """What was measured of policies, by fingerprint and cost; see `Inside`.

        Where there are several limits, what was measured for the widest of them counts.
        """
        found: dict[str, dict[str, Any]] = {}
        for measured in measured_told(self.told):
            for policy, costs in measured.items():
                known = found.setdefault(policy, {})
                for cost, one in costs.items():
                    known[cost] = min(known.get(cost, one), one, key=lambda of: of["by"])
        return found

    def policy(self, trial: FrozenTrial) -> Policy | None:
        """Return the policy of a trial; None where its levels say nothing."""
        if not self.spaces or not self._encoding.holds(trial.params):
            return None
        return self._encoding.policy(self._encoding.row(trial.params))

    def excess(self, trial: FrozenTrial, policy: Policy | None) -> dict[str, float]:
        """Return by how much of each limit a trial is over it, by cost; 0 or less is inside.

        Args:
            trial: The trial.
            policy: Its policy, if that is known; what was measured counts for that.
        """
        found = dict(trial.constraints)
        costs = trial.user_attrs.get("costs")
        if self.lowered and isinstance(costs, dict):
            for cost, limit in self.now.items():
                if cost in costs:
                    found[cost] = costs[cost] / limit - 1
        measured = self.measured.get(policy.fingerprint, {}) if policy is not None else {}
        for cost, one in measured.items():
            found[cost] = max(one["by"], 1e-9) if one["over"] else min(one["by"], 0.0)
        return found

    def misses(self, policy: Policy) -> bool:
        """Tell whether a policy was measured to be over a limit."""
        found = self.measured.get(policy.fingerprint, {})
        return any(one.get("over") for one in found.values())

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.spaces)
