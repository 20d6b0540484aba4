"""What can be pruned of a model inside a budget, for studies that people run themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial
from torch import nn

from autoprune._hints import did_you_mean
from autoprune.agent.feasible.encoding import Encoding, distributions, policy_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.anchors import first_proposals
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import DEFAULT, Start, make_sampler
from autoprune.agent.samplers.pool import padded
from autoprune.core.arrays import Floats
from autoprune.core.costs import Costs
from autoprune.core.fingerprint import check_seed
from autoprune.core.policy import Policy
from autoprune.errors import ConfigError
from autoprune.evaluation.probing.sensitivity import Sensitivity
from autoprune.evaluation.pruning.importance import Importance
from autoprune.evaluation.pruning.pruned import pruned
from autoprune.space.schema import UnitSpace
from autoprune.surgery.plan import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Prunable:
    """What can be pruned of a model inside a budget; `autoprune.prunable` makes it.

    A policy is held by parameters of a trial: ``level:UNIT``, an index into the unit's
    sparsities, and ``method:UNIT`` where there is a choice. Threads may share it; it can be
    pickled if the model can.

    Args:
        model: The dense model, on the CPU; it is never changed.
        plan: What surgery may do.
        projection: What is feasible.
        importance: Which atoms go first.
    """

    model: nn.Module
    plan: Plan
    projection: Projection
    importance: Importance

    @property
    def units(self) -> Mapping[str, UnitSpace]:
        """What may be chosen, by unit."""
        return self.projection.spaces

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The search space, for ``study.ask`` and Ray Tune's ``OptunaSearch``; add your own."""
        return distributions(self.units)

    def sampler(
        self, name: str = DEFAULT, *, seed: int = 0, errors: Sensitivity | None = None
    ) -> PolicySampler:
        """Return a sampler for one study; all that it proposes is inside the budget.

        Args:
            name: What proposes policies; see `autoprune.search`.
            seed: Makes the proposals repeatable, after a resume too.
            errors: What each unit gives up, from `autoprune.profile`; None does without.

        Raises:
            ConfigError: If there is no such sampler, or the errors are of other units or levels.
        """
        check_seed(seed)
        table = None if errors is None else self._padded(errors)
        first = first_proposals(self.plan, self.projection, table)
        start = Start(projection=self.projection, seed=seed, anchors=first, errors=table)
        return make_sampler(name, start)

    def suggest(self, trial: BaseTrial) -> Policy:
        """Return the policy of a trial, whose parameters are suggested where they are not yet."""
        found: dict[str, Any] = {}
        for unit, space in self.units.items():
            level, method = f"level:{unit}", f"method:{unit}"
            found[level] = trial.suggest_int(level, 0, space.levels - 1)
            if len(space.methods) > 1:
                found[method] = trial.suggest_categorical(method, space.methods)
        return self.policy(found)

    def policy(self, params: Mapping[str, Any]) -> Policy:
        """Return the policy that parameters stand for; others may be among them.

        Args:
            params: ``trial.params``, or the configuration that Ray Tune gives.

        Raises:
            ConfigError: If one is missing, or its value is not allowed.
        """
        for unit, space in self.units.items():
            level = params.get(f"level:{unit}")
            if not isinstance(level, int) or not 0 <= level < space.levels:
                whole = f"a whole number from 0 to {space.levels - 1}"
                raise _refused(f"level:{unit}", params, whole)
            if len(space.methods) > 1 and params.get(f"method:{unit}") not in space.methods:
                raise _refused(f"method:{unit}", params, f"one of {', '.join(space.methods)}")
        return policy_of(params, self.units)

    def costs(self, policy: Policy) -> Costs:
        """Return what the pruned model costs, and the dense one for ``Policy({})``.

        Raises:
            ConfigError: If the policy is of another model or space.
        """
        self._check(policy)
        return self.projection.costs_of(policy)

    def apply(self, policy: Policy) -> nn.Module:
        """Return the smaller model of a policy, on the CPU, as it is cut.

        Its weights are the dense model's: fine-tune it, or at least let its batch norms see some
        batches in training mode, before it is measured.

        Raises:
            ConfigError: If the policy is of another model or space.
        """
        self._check(policy)
        return pruned(self.model, self.plan, self.importance, policy)

    def _check(self, policy: Policy) -> None:
        for unit, choice in policy.items():
            if unit not in self.units:
                hint = did_you_mean(unit, self.units)
                raise ConfigError(f"The policy has a unit {unit!r}, which cannot be pruned.{hint}")
            methods = self.units[unit].methods
            if choice.method not in methods:
                raise ConfigError(
                    f"The policy prunes {unit!r} by {choice.method!r}. Allowed here is "
                    f"{', '.join(methods)}. Add the method to the search space, and give a task "
                    "if it needs gradients."
                )

    def _padded(self, table: Sensitivity) -> Floats:
        for unit, space in self.units.items():
            levels = [1 - kept / space.atoms for kept in space.kept]
            own = table.errors.get(unit, {})
            if list(table.sparsities.get(unit, ())) != levels or not {*space.methods} <= {*own}:
                raise ConfigError(
                    f"The sensitivity table does not fit: of {unit!r} it must have "
                    f"{space.levels} levels of {', '.join(space.methods)}. It has "
                    f"{len(table.sparsities.get(unit, ()))} of {', '.join(own) or 'none'}. "
                    "Measure it with autoprune.profile for the same model and search space."
                )
        return padded(Encoding(self.units), table.errors)


def _refused(name: str, params: Mapping[str, Any], allowed: str) -> ConfigError:
    given = f"Got {params[name]!r}" if name in params else "It is not there"
    return ConfigError(
        f"The parameter {name!r} of a policy must be {allowed}. {given}. Give all parameters of a "
        "trial that was asked for with the distributions of this model."
    )
