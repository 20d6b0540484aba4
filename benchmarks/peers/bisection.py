"""How a tool that takes a strength, not a limit, is brought to a limit."""

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")
ROUNDS = 12  # a four-thousandth of the range


def bisected(
    make: Callable[[float], Made],
    cost: Callable[[Made], float],
    limit: float,
    *,
    high: float = 1.0,
    rounds: int = ROUNDS,
) -> tuple[float, Made]:
    """Return the strength and what it makes that costs most within ``limit``.

    Args:
        make: Makes something of a strength in ``(0, high]``; the stronger the cheaper, about.
        cost: What that costs.
        limit: What it may cost.
        high: The highest strength.
        rounds: How often the range is halved; each makes one thing.

    Raises:
        ValueError: If nothing that was made is within the limit.
    """
    low, best, least = 0.0, None, float("inf")
    for _ in range(rounds):
        strength = (low + high) / 2
        made = make(strength)
        spent = cost(made)
        least = min(least, spent)
        if spent > limit:
            low = strength
            continue
        high = strength
        if best is None or spent > best[0]:
            best = spent, strength, made
    if best is None:
        raise ValueError(
            f"No strength keeps within {limit:.4g}: the least of {rounds} cost {least:.4g}."
        )
    _, strength, made = best
    return strength, made
