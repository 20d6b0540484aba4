"""Budgets: upper limits that a pruned model must meet together."""

from collections.abc import Iterable, Mapping
from typing import Any, Union

from autoprune._hints import did_you_mean
from autoprune.core.costs import EXACT, LATENCY, PARTS, Costs, part_of
from autoprune.core.limit import Limit, limit_text, parse_limit
from autoprune.core.target import Target
from autoprune.errors import BudgetError

_EXAMPLE = "'latency=8ms@onnxruntime'"
BudgetLike = Union["Budget", str, Iterable[str], Mapping[str, Any]]


class Budget:
    """A set of upper limits on costs; all of them hold together.

    Args:
        limits: Limit by cost; costs are those of `Costs.as_dict`, a latency being called
            ``latency@TARGET``, that of a part of the model ``macs@MODULE``.

    Raises:
        BudgetError: If there is no limit or a cost is unknown.
        ConfigError: If a target is none.
    """

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        if not limits:
            raise BudgetError("A budget needs at least one limit, for instance 'macs: 50%'.")
        for cost in limits:
            _check_cost(cost)
        ordered = [*EXACT, *sorted(limits.keys() - set(EXACT))]
        self.limits = {cost: limits[cost] for cost in ordered if cost in limits}

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the limits on latency are measured with."""
        return tuple(Target.parse(c[len(LATENCY) :]) for c in self.limits if c.startswith(LATENCY))

    @property
    def parts(self) -> tuple[str, ...]:
        """The limited costs of single modules."""
        return tuple(cost for cost in self.limits if part_of(cost))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Budget) and self.limits == other.limits

    def __hash__(self) -> int:
        return hash(tuple(self.limits.items()))

    def __repr__(self) -> str:
        return f"Budget({str(self)!r})"

    def __str__(self) -> str:
        return ", ".join(limit_text(cost, limit) for cost, limit in self.limits.items())

    def to_dict(self) -> dict[str, str]:
        """Return the limits as text by cost; `parse` gives an equal budget back."""
        return {cost: str(limit) for cost, limit in self.limits.items()}

    def resolve(self, dense: Costs) -> dict[str, float]:
        """Return absolute limits by cost for a dense model that costs ``dense``."""
        known = dense.as_dict()
        return {cost: limit.resolve(known[cost]) for cost, limit in self.limits.items()}

    def met_by(self, costs: Costs, dense: Costs) -> bool:
        """Tell whether ``costs`` are inside every limit."""
        given = costs.as_dict()
        return all(given[cost] <= limit for cost, limit in self.resolve(dense).items())

    @classmethod
    def parse(cls, given: BudgetLike) -> "Budget":
        """Read a budget from ``"macs=50%"``, a list of such texts, or a mapping.

        Amounts are shares (``50%``) or absolute (``1.2G``, ``2M``, ``10MB``). ``flops`` is
        accepted and halved, since one MAC is two FLOPs. A latency names its target:
        ``latency=8ms@onnxruntime`` or ``latency=60%@pytorch/threads=1``. Multiply-adds and
        parameters of one module alone: ``macs=50%@visual``.

        Raises:
            BudgetError: If a cost, a unit or an amount is not understood.
            ConfigError: If a target is not understood.
        """
        if isinstance(given, Budget):
            return given
        limits: dict[str, Limit] = {}
        for key, amount in _pairs(given):
            cost, amount = _named(key, amount)
            if cost in limits:
                raise BudgetError(f"The budget limits {cost!r} more than once. Give one limit.")
            _check_cost(cost)
            limits[cost] = parse_limit(key, cost.partition("@")[0], amount)
        return cls(limits)


def _pairs(given: str | Iterable[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    if isinstance(given, Mapping):
        several = {k: v if isinstance(v, list) else [v] for k, v in given.items()}
        return [(str(cost), amount) for cost, amounts in several.items() for amount in amounts]
    if isinstance(given, str):
        given = given.split(",")
    pairs: list[tuple[str, Any]] = []
    for text in given if isinstance(given, Iterable) else [given]:
        cost, equals, amount = str(text).partition("=")
        if not equals:
            raise BudgetError(f"A budget is written COST=LIMIT, like 'macs=50%'. Got {text!r}.")
        pairs.append((cost.strip(), amount))
    return pairs


def _named(key: str, amount: Any) -> tuple[str, Any]:
    """Return the name of the cost, with a target or a module it is of, and the amount alone."""
    kind, _, target = key.partition("@")
    kind = "macs" if kind == "flops" else kind
    if kind in PARTS:
        return _of_part(key, kind, target, amount)
    if kind != "latency":
        return key, amount
    amount, _, named = str(amount).partition("@")
    if bool(named.strip()) == bool(target.strip()):
        raise BudgetError(
            f"A limit on latency names what runs the model, like {_EXAMPLE}. Got {key}={amount}."
        )
    return f"{LATENCY}{Target.parse(named or target)}", amount.strip()


def _of_part(key: str, kind: str, module: str, amount: Any) -> tuple[str, Any]:
    if "@" in str(amount):
        amount, _, named = map(str.strip, str(amount).partition("@"))
        if bool(named) == bool(module.strip()):
            raise BudgetError(
                f"A limit on a part of the model names one module, like '{kind}=50%@visual'. "
                f"Got {key}={amount}@{named}."
            )
        module = named
    module = module.strip()
    if key.endswith("@") and not module:
        raise BudgetError(
            f"A limit on a part of the model names a module, like '{kind}=50%@visual'; one on all "
            f"of it is '{kind}=50%'. Got {key}={amount}."
        )
    return (f"{kind}@{module}" if module else kind), amount


def _check_cost(cost: str) -> None:
    if cost.startswith(LATENCY):
        Target.parse(cost[len(LATENCY) :])
    elif cost not in EXACT and not part_of(cost):
        known = (*EXACT, "latency", "flops")
        raise BudgetError(f"Unknown cost {cost!r} in the budget.{did_you_mean(cost, known)}")
