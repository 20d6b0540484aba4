"""Upper limits a pruned model must meet, absolute or relative to the dense model."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from math import inf
from typing import Any, Union

from autoprune._hints import did_you_mean
from autoprune.core.costs import EXACT, LATENCY, PARTS, Costs, part_of
from autoprune.core.target import Target
from autoprune.errors import BudgetError

_NUMBERS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES = {
    **{"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30},
}
_SCALES: dict[str, dict[str, Any]] = {
    "macs": _NUMBERS,
    "params": {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9},
    "size": _BYTES,
    "memory": _BYTES,
    "sparse_macs": _NUMBERS,
    "sparse_size": _BYTES,
    "latency": {"us": Decimal("0.001"), "ms": 1, "s": 1000},
}
_EXAMPLE = "'latency=8ms@onnxruntime'"
_WIDE = Context(traps=[])  # 1e999999999 is infinite, and no error of its own
_QUANTITY = re.compile(r"\s*((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*|%)\s*")

BudgetLike = Union["Budget", str, Iterable[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Limit:
    """One upper limit.

    Args:
        amount: A share in ``(0, 1]`` if ``relative``, else an absolute amount above 0.
        relative: Whether ``amount`` is a share of the dense model's cost.
        unit: Unit of an absolute amount: ``ms`` for a latency, else none.
    """

    amount: float
    relative: bool
    unit: str = ""

    def resolve(self, dense: float) -> float:
        """Return the limit as an absolute amount for a dense model that costs ``dense``.

        What is counted in whole numbers has a limit that is one.
        """
        absolute = self.amount * dense if self.relative else self.amount
        return int(absolute + 1e-9) if isinstance(dense, int) else absolute

    def __str__(self) -> str:
        exact = Decimal(repr(self.amount))
        if self.relative:
            return f"{(100 * exact).normalize():f}%"
        return f"{exact.normalize():f}{self.unit}"


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
        return ", ".join(written(cost, limit) for cost, limit in self.limits.items())

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
        for written, amount in _pairs(given):
            cost, amount = _named(written, amount)
            if cost in limits:
                raise BudgetError(f"The budget limits {cost!r} more than once. Give one limit.")
            _check_cost(cost)
            limits[cost] = _parse_limit(written, cost.partition("@")[0], amount)
        return cls(limits)


def written(cost: str, limit: Limit) -> str:
    """Return a limit as a user writes it: ``macs=50%``, ``latency=8ms@onnxruntime``."""
    kind, at, target = cost.partition("@")
    return f"{kind}={limit}{at}{target}"


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


def _named(written: str, amount: Any) -> tuple[str, Any]:
    """Return the name of the cost, with a target or a module it is of, and the amount alone."""
    kind, _, target = written.partition("@")
    kind = "macs" if kind == "flops" else kind
    if kind in PARTS:
        return _of_part(written, kind, target, amount)
    if kind != "latency":
        return written, amount
    amount, _, named = str(amount).partition("@")
    if bool(named.strip()) == bool(target.strip()):
        raise BudgetError(
            f"A limit on latency names what runs the model, like {_EXAMPLE}. "
            f"Got {written}={amount}."
        )
    return f"{LATENCY}{Target.parse(named or target)}", amount.strip()


def _of_part(written: str, kind: str, module: str, amount: Any) -> tuple[str, Any]:
    if "@" in str(amount):
        amount, _, named = map(str.strip, str(amount).partition("@"))
        if bool(named) == bool(module.strip()):
            raise BudgetError(
                f"A limit on a part of the model names one module, like '{kind}=50%@visual'. "
                f"Got {written}={amount}@{named}."
            )
        module = named
    module = module.strip()
    if written.endswith("@") and not module:
        raise BudgetError(
            f"A limit on a part of the model names a module, like '{kind}=50%@visual'; one on all "
            f"of it is '{kind}=50%'. Got {written}={amount}."
        )
    return (f"{kind}@{module}" if module else kind), amount


def _check_cost(cost: str) -> None:
    if cost.startswith(LATENCY):
        Target.parse(cost[len(LATENCY) :])
    elif cost not in EXACT and not part_of(cost):
        known = (*EXACT, "latency", "flops")
        raise BudgetError(f"Unknown cost {cost!r} in the budget.{did_you_mean(cost, known)}")


def _parse_limit(written: str, cost: str, amount: Any) -> Limit:
    match = _QUANTITY.fullmatch(str(amount))
    scales = _SCALES[cost]
    if match is None or isinstance(amount, bool):
        raise BudgetError(
            f"The budget {written!r} must be a share like '50%' or an amount like '2M'. "
            f"Got {amount!r}."
        )
    unit = match[2]
    unit = unit.lower() if cost == "latency" else unit.upper()
    if unit != "%" and unit not in scales:
        allowed = ", ".join(["%", *filter(None, scales)])
        problem = f"Unknown unit {match[2]!r} in" if match[2] else "A unit is missing in"
        raise BudgetError(f"{problem} {written}={amount}. Allowed: {allowed}.")
    relative = unit == "%"
    value = _amount(match[1], Decimal("0.01") if relative else scales[unit])
    if not 0 < value < inf or (relative and value > 1):
        span = "above 0% and at most 100%" if relative else "above 0 and not endless"
        raise BudgetError(f"The budget {written!r} must be {span}. Got {amount!r}.")
    if not relative and value < 1 and cost != "latency":
        raise BudgetError(
            f"The budget {written}={amount} is less than one; for a share of the dense model "
            f"write '{100 * value:g}%'."
        )
    halved = written.partition("@")[0] == "flops" and not relative
    own = "ms" if cost == "latency" and not relative else ""
    return Limit(value / 2 if halved else value, relative, own)


def _amount(number: str, scale: Decimal | int) -> float:
    """Return a number times its unit; what is too large for `decimal` or a float is infinite."""
    return float(_WIDE.multiply(Decimal(number), Decimal(scale)))
