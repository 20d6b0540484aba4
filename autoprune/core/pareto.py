"""A front in place of one budget: the best quality at several limits of one cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN
from typing import Any

from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY
from autoprune.core.limit import Limit, limit_text
from autoprune.core.numbers import rounded
from autoprune.errors import BudgetError

POINTS = 5
_UPPER = Limit(0.8, relative=True)
_SPAN = 4  # the upper end by the lower one, where only the upper one is known
_ROOM = 1.1  # above the smallest model that can be reached: it alone leaves nothing to choose
_EXAMPLE = "'macs', 'macs=25%..75%' or 'latency=20%..60%@onnxruntime'"


@dataclass(frozen=True)
class Pareto:
    """What is traded for quality, and where.

    Args:
        cost: A cost, as in a `Budget`.
        low: Limit of the smallest point; None for a quarter of the upper end, or what can be
            reached.
        high: Limit of the largest point; None for the budget's limit on this cost, else 80%.
            Both ends are given, or neither is.

    Raises:
        BudgetError: If one end is missing, or they are no range.
    """

    cost: str
    low: Limit | None = None
    high: Limit | None = None

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if low is None and high is None:
            return
        if low is None or high is None:
            end = "lower" if low is None else "upper"
            raise BudgetError(f"The range of a front on {self.cost} has no {end} end. Give both.")
        if (low.relative, low.unit) != (high.relative, high.unit):
            raise BudgetError(f"Both ends of a range are shares, or both are amounts. Got {self}.")
        if low.amount >= high.amount:
            raise BudgetError(
                f"The lower end of a range comes first and is below the upper one. Got {self}."
            )

    @classmethod
    def parse(cls, given: "Pareto | str | Mapping[str, Any]") -> "Pareto":
        """Read ``"macs"``, ``"macs=25%..75%"``, ``"latency=4ms..8ms@onnxruntime"``.

        ``flops`` is accepted and halved, since one MAC is two FLOPs.

        Raises:
            BudgetError: If the cost or its range is not understood.
            ConfigError: If a target is not understood.
        """
        if isinstance(given, Pareto):
            return given
        name, ends = _pair(given)
        if ends is None:
            cost, _ = _limit(name, str(_UPPER), name)  # it says what is wrong with an unknown one
            return cls(cost)
        ends, at, target = ends.partition("@")
        low, dots, high = ends.partition("..")
        if not dots:
            raise BudgetError(
                f"A front needs a cost, or a cost and a range LOW..HIGH: {_EXAMPLE}. "
                f"Got {name}={ends}{at}{target}."
            )
        text = f"{name}={ends}{at}{target}"
        (cost, first), (_, last) = (
            _limit(name, f"{end}{at}{target}", text) for end in (low, high)
        )
        return cls(cost, first, last)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return self.cost
        kind, at, target = self.cost.partition("@")
        return f"{kind}={self.low}..{self.high}{at}{target}"

    def widest(self, budget: Budget | None) -> Budget:
        """Return the budget of the largest point; a range given wins over the budget's limit."""
        limits = dict(budget.limits) if budget else {}
        upper = self.high or limits.get(self.cost, _UPPER)
        return Budget(limits | {self.cost: upper})

    def limits(self, high: Limit, least: float, points: int) -> list[Limit]:
        """Return the limits from the lowest to the highest, each the same share of the next.

        Where the range is narrow, fewer than ``points`` differ.

        Args:
            high: The upper end.
            least: What the smallest model that can be reached costs; a share of the dense model
                if ``high`` is one.
            points: How many limits, both ends included.

        Raises:
            BudgetError: If the smallest model leaves no range, where none was given.
        """
        low = self._lower(high, least)
        step = (high.amount / low) ** (1 / (points - 1))
        middle = (rounded(low * step**at, ROUND_HALF_EVEN) for at in range(1, points - 1))
        amounts = {low, high.amount, *(one for one in middle if low < one < high.amount)}
        return [Limit(amount, high.relative, high.unit) for amount in sorted(amounts)]

    def _lower(self, high: Limit, least: float) -> float:
        if self.low is not None:
            return self.low.amount
        low = rounded(max(high.amount / _SPAN, _ROOM * least), ROUND_CEILING)
        if low < high.amount:
            return low
        smallest = Limit(rounded(least, ROUND_CEILING), high.relative, high.unit)
        raise BudgetError(
            f"There is no front below {limit_text(self.cost, high)}: the smallest model that can "
            f"be reached has {smallest}. Set a higher upper end, give a range, or allow higher "
            "sparsities or more units in the search space."
        )


def dominators(values: Sequence[tuple[float, float]]) -> list[int | None]:
    """Return for each quality and cost the number of one that is as good and costs no more.

    It is None for the members of the front. Of equal ones the first is its member.
    """
    found: list[int | None] = [None] * len(values)
    best: int | None = None
    for at in sorted(range(len(values)), key=lambda i: (values[i][1], -values[i][0])):
        if best is not None and values[at][0] <= values[best][0]:
            found[at] = best
        else:
            best = at
    return found


def _pair(given: str | Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the cost as it was written, and its range if there is one."""
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise BudgetError(f"A front is about one cost: {_EXAMPLE}. Got {dict(given)!r}.")
        ((name, ends),) = given.items()
        return str(name), None if ends is None else str(ends)
    text = str(given).strip()
    if text.startswith(LATENCY) and ".." not in text:  # a target may hold an equals sign
        return text, None
    name, equals, ends = text.partition("=")
    return name.strip(), ends if equals else None


def _limit(name: str, amount: str, given: str) -> tuple[str, Limit]:
    """Return a cost and one end of its range; ``given`` is what was typed, for errors."""
    try:
        ((cost, limit),) = Budget.parse({name: amount}).limits.items()
    except BudgetError as err:
        raise BudgetError(
            f"The front {given!r} is not understood. Give a cost, or a cost and a range: "
            f"{_EXAMPLE}; only latency names a target. As a limit it says: {err}"
        ) from err
    return cost, limit


def front_text(front: Pareto, points: int) -> str:
    """Return a front and the number of its models, as settings of a run hold them."""
    return f"{front}, {points} points"


def read_front_text(text: str) -> tuple[str, int]:
    """Return the front as a user writes it, and the number of its models, of `front_text`."""
    front, _, points = text.rpartition(", ")
    return front, int(points.split()[0])
