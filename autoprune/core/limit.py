"""One upper limit on a cost, absolute or relative to the dense model."""

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from math import inf
from typing import Any

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
_WIDE = Context(traps=[])  # 1e999999999 is infinite, and no error of its own
_QUANTITY = re.compile(r"\s*((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*|%)\s*")


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


def limit_text(cost: str, limit: Limit) -> str:
    """Return a limit as a user writes it: ``macs=50%``, ``latency=8ms@onnxruntime``."""
    kind, at, target = cost.partition("@")
    return f"{kind}={limit}{at}{target}"


def parse_limit(key: str, cost: str, amount: Any) -> Limit:
    """Read a limit: a share (``50%``) or an amount (``1.2G``, ``2M``, ``10MB``, ``8ms``).

    Args:
        key: What it was written for; ``flops`` are halved.
        cost: The kind of cost: one of `EXACT`, or ``latency``.
        amount: What was given.

    Raises:
        BudgetError: If a unit or an amount is not understood.
    """
    match = _QUANTITY.fullmatch(str(amount))
    if match is None or isinstance(amount, bool):
        raise BudgetError(
            f"The budget {key!r} must be a share like '50%' or an amount like '2M'. "
            f"Got {amount!r}."
        )
    unit = _unit(match[2], key, cost, amount)
    relative = unit == "%"
    value = _amount(match[1], Decimal("0.01") if relative else _SCALES[cost][unit])
    if not 0 < value < inf or (relative and value > 1):
        span = "above 0% and at most 100%" if relative else "above 0 and not endless"
        raise BudgetError(f"The budget {key!r} must be {span}. Got {amount!r}.")
    if not relative and value < 1 and cost != "latency":
        raise BudgetError(
            f"The budget {key}={amount} is less than one; for a share of the dense model "
            f"write '{100 * value:g}%'."
        )
    halved = key.partition("@")[0] == "flops" and not relative
    own = "ms" if cost == "latency" and not relative else ""
    return Limit(value / 2 if halved else value, relative, own)


def _unit(given: str, key: str, cost: str, amount: Any) -> str:
    unit = given.lower() if cost == "latency" else given.upper()
    if unit != "%" and unit not in _SCALES[cost]:
        allowed = ", ".join(["%", *filter(None, _SCALES[cost])])
        problem = f"Unknown unit {given!r} in" if given else "A unit is missing in"
        raise BudgetError(f"{problem} {key}={amount}. Allowed: {allowed}.")
    return unit


def _amount(number: str, scale: Decimal | int) -> float:
    """Return a number times its unit; what is too large for `decimal` or a float is infinite."""
    return float(_WIDE.multiply(Decimal(number), Decimal(scale)))
