"""Policies as Optuna parameters: a level and a method per unit."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autoprune.core.policy import Policy
from autoprune.space.schema import UnitSpace


def distributions(spaces: Mapping[str, UnitSpace]) -> dict[str, BaseDistribution]:
    """Return Optuna's search space; a method is only asked for where there is a choice."""
    found: dict[str, BaseDistribution] = {}
    for unit, space in spaces.items():
        found[f"level:{unit}"] = IntDistribution(0, space.levels - 1)
        if len(space.methods) > 1:
            found[f"method:{unit}"] = CategoricalDistribution(space.methods)
    return found


def levels_of(params: Mapping[str, Any], spaces: Mapping[str, UnitSpace]) -> dict[str, int]:
    """Return the level of each unit."""
    return {unit: int(params[f"level:{unit}"]) for unit in spaces}


def policy_of(params: Mapping[str, Any], spaces: Mapping[str, UnitSpace]) -> Policy:
    """Return the policy that parameters stand for."""
    return Policy(
        {
            unit: space.choice(
                params.get(f"method:{unit}", space.methods[0]), int(params[f"level:{unit}"])
            )
            for unit, space in spaces.items()
        }
    )
