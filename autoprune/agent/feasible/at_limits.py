"""What is feasible at each limit of a front, inside the one budget, or on the way to a drop."""

from collections.abc import Mapping

from autoprune.agent.feasible.projection import Projection
from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY
from autoprune.core.pareto import POINTS, Pareto
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.schema import UnitSpace


def projections(
    pareto: Pareto | None,
    points: int,
    budget: Budget,
    cost: CostModel,
    spaces: Mapping[str, UnitSpace],
) -> list[Projection]:
    """Return one projection for each limit of a front, the tightest first; else the budget's.

    Args:
        pareto: The front; None for a single budget.
        points: How many limits a front has.
        budget: The budget, of a front that of its largest point.
        cost: Costs of any policy.
        spaces: What may be chosen, by unit.

    Raises:
        BudgetError: If a limit cannot be reached or decided, or the dense model meets it.
    """
    widest = Projection(cost, spaces, budget)
    if pareto is None:
        return [widest]
    high, least = budget.limits[pareto.cost], widest.smallest.as_dict()[pareto.cost]
    whole = cost.dense.as_dict()[pareto.cost] if high.relative else 1
    limits = pareto.limits(high, least / whole, points)
    budgets = (Budget(budget.limits | {pareto.cost: limit}) for limit in limits[:-1])
    try:
        return [*(Projection(cost, spaces, own) for own in budgets), widest]
    except BudgetError as err:
        raise BudgetError(f"The front {pareto} begins too low. {err}") from err


def spread(
    name: str, budget: Budget, cost: CostModel, spaces: Mapping[str, UnitSpace]
) -> list[Projection]:
    """Return projections over the range in which the lowest amount of a cost is looked for.

    Latency has to be known all over it; what is exact is known anyway, so there is one only.

    Args:
        name: The cost.
        budget: The budget of the highest limit.
        cost: Costs of any policy.
        spaces: What may be chosen, by unit.

    Raises:
        BudgetError: If the highest limit cannot be reached or decided, or the dense model meets
            it.
    """
    widest = projections(None, 0, budget, cost, spaces)
    if not name.startswith(LATENCY):
        return widest
    try:
        return projections(Pareto(name), POINTS, budget, cost, spaces)
    except BudgetError:  # there is little between the smallest model and the highest limit
        return widest
