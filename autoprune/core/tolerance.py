"""The smallest model within a drop of quality, in place of the best one within a budget."""

from dataclasses import dataclass
from math import inf
from typing import Any

from autoprune.core.bisection import PRECISION
from autoprune.core.budget import Budget
from autoprune.core.limit import Limit
from autoprune.core.numbers import as_float, check_at_least
from autoprune.core.yardstick import change_text, in_points
from autoprune.errors import BudgetError, ConfigError

MINIMISED = "macs"
_UPPER = Limit(1 - PRECISION, relative=True)
_ROUNDING = 1e-9  # of a drop: 0.98 - 0.97 is not quite 0.01


@dataclass(frozen=True)
class Tolerance:
    """How much quality may be given up, and for what.

    Args:
        max_drop: Quality that may be lost at most, as `in_points` tells it.
        cost: The cost that is to be low, as in a `Budget`.
        is_share: Whether the task's metric is a share.

    Raises:
        ConfigError: If the drop is no number of at least 0.
    """

    max_drop: float
    cost: str = MINIMISED
    is_share: bool = True

    def __post_init__(self) -> None:
        check_max_drop(self.max_drop)

    @classmethod
    def parse(
        cls, max_drop: float, minimise: str | None = None, is_share: bool = True
    ) -> "Tolerance":
        """Read a drop and the name of a cost, ``macs`` or ``latency@onnxruntime``.

        Raises:
            ConfigError: If the drop is no number of at least 0, or a target is not understood.
            BudgetError: If the cost is none.
        """
        return cls(max_drop, MINIMISED if minimise is None else parse_cost(minimise), is_share)

    def __str__(self) -> str:
        return f"lowest {self.cost} within {self.text}"

    @property
    def text(self) -> str:
        """The drop that is allowed, as a sentence has it."""
        points = " point" if self.max_drop == 1 else " points"
        return f"{self.max_drop:g}{points if self.is_share else ''}"

    def widest(self, budget: Budget | None) -> Budget:
        """Return the budget of the highest limit: its own, else just below the dense model."""
        limits = dict(budget.limits) if budget else {}
        return Budget(limits | {self.cost: limits.get(self.cost, _UPPER)})

    def drop(self, dense: float, quality: float) -> float:
        """Return the drop from the dense model's quality; below 0 where it rose."""
        return in_points(dense - quality, self.is_share)

    def drop_text(self, drop: float, error: float | None = None) -> str:
        """Return a drop that was found, and its standard error, as they are written."""
        return change_text(drop, self.is_share, error=error)

    def allows(self, drop: float) -> bool:
        """Tell whether a drop is not too much."""
        return drop <= self.max_drop + _ROUNDING

    def allows_all(self, dense: float) -> bool:
        """Tell whether a model that is right nowhere is within, though it may lose what it has.

        So it is with a drop in points of a metric that nobody said to be a share.
        """
        return not self.is_share and 0 < dense <= self.max_drop

    def holds(self, dense: float, quality: float) -> bool:
        """Tell whether a quality is within the drop from the dense model's."""
        return self.allows(self.drop(dense, quality))


def check_max_drop(given: Any) -> float:
    """Return a drop.

    Raises:
        ConfigError: If it is no finite number of at least 0.
    """
    check_at_least("max_drop", given, 0, int | float)
    drop = as_float(given)
    if drop == inf:
        raise ConfigError(f"max_drop must be finite: a drop of quality, like 1.0. Got {given!r}.")
    return drop


def parse_cost(given: str) -> str:
    """Return the name that a budget uses for a cost: ``flops`` is ``macs``.

    Raises:
        BudgetError: If it is none.
        ConfigError: If a target is not understood.
    """
    try:
        (cost,) = Budget.parse({str(given).strip(): str(_UPPER)}).limits
    except BudgetError as err:
        raise BudgetError(
            f"What is to be minimised is a cost: macs, params, size, memory, sparse_macs, "
            f"sparse_size, 'macs@MODULE', 'params@MODULE' or 'latency@onnxruntime'. "
            f"Got {given!r}. As a limit it says: {err}"
        ) from err
    return cost
