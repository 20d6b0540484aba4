"""Limits on parts of a model, or on zeros: what they may name, and which units they leave out."""

from collections.abc import Mapping

import numpy as np
from torch import nn

from autoprune._hints import did_you_mean
from autoprune.core.budget import Budget
from autoprune.core.costs import Costs, part_of
from autoprune.core.structure import split_method
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.schema import UnitSpace
from autoprune.surgery.accept import unwrapped
from autoprune.surgery.plan import Plan


def check_parts(model: nn.Module, budget: Budget, dense: Costs) -> None:
    """Refuse limits on what is no module, or on one that has nothing of the cost.

    Raises:
        BudgetError: If there is such a limit.
    """
    known = [name for name, _ in unwrapped(model).named_modules() if name]
    for cost in budget.parts:
        kind, module = part_of(cost) or ("", "")
        if module not in known:
            raise BudgetError(
                f"The budget limits {cost!r}, and the model has no module {module!r}."
                f"{did_you_mean(module, known)} Name one as model.named_modules() does."
            )
        if dense.parts[cost] == 0:
            raise BudgetError(
                f"The budget limits {cost!r}, and the module {module!r} has no {kind} of its own. "
                "Multiply-adds belong to the innermost module that runs them."
            )


def inside_parts(
    spaces: Mapping[str, UnitSpace], budget: Budget, plan: Plan, cost: CostModel
) -> Mapping[str, UnitSpace]:
    """Return what may be chosen, without units outside of the limited parts if nothing else is.

    To cut them would save nothing that is limited, and lose quality. Weights that are only set to
    zero are left to the space.

    Raises:
        BudgetError: If nothing is left.
    """
    if len(budget.parts) < len(budget.limits):
        return spaces
    left = {u: s for u, s in spaces.items() if u not in plan.units or _moves(u, s, budget, cost)}
    if not left:
        raise BudgetError(
            f"The budget {budget} cannot be reached: no unit that may be cut changes what it "
            "limits. Name a larger part of the model, or protect fewer units; autoprune units "
            "lists what can be cut."
        )
    return left


def evenly_zeroed(
    spaces: Mapping[str, UnitSpace], budget: Budget, plan: Plan
) -> Mapping[str, UnitSpace]:
    """Return what may be chosen, without what nobody can price where zeros are limited.

    How many weights of each tensor a ranking over all of them takes depends on the weights. The
    units of single tensors offer the same sparsities, at a price that is known. N:M takes as many
    of each tensor, so with patterns alone the unit over all of them stays.

    Raises:
        BudgetError: If nothing is left.
    """
    if not any(cost.startswith("sparse_") for cost in budget.limits):
        return spaces
    uneven = {
        name
        for name, space in spaces.items()
        if name in plan.weights
        and len(plan.weights[name].members) > 1
        and any(split_method(method)[0].pattern is None for method in space.methods)
    }
    if uneven == spaces.keys():
        raise BudgetError(
            f"The budget {budget} cannot be decided: the search space allows only "
            f"{', '.join(map(repr, sorted(uneven)))}, weights of all tensors ranked together, and "
            "how many zeros each tensor gets is known only afterwards. Allow the single tensors "
            "too; autoprune units lists them."
        )
    return {name: space for name, space in spaces.items() if name not in uneven}


def patterns_of(spaces: Mapping[str, UnitSpace]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return each N:M that may be chosen, by unit, as `CostModel` wants it."""
    return {name: space.patterns for name, space in spaces.items() if space.patterns}


def _moves(unit: str, space: UnitSpace, budget: Budget, cost: CostModel) -> bool:
    """Tell whether the unit alone changes a limited cost."""
    found = cost.price({unit: min(space.kept)})
    return any(np.not_equal(found.parts[part], cost.dense.parts[part]) for part in budget.parts)
