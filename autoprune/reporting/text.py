"""Figures as a person reads them; every report uses the same ones."""

from math import ceil

from autoprune.core.costs import LATENCY

_BYTES = ("size", "memory", "sparse_size")
_STEPS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
_ROUNDED_UP = 0.9995  # of a step: what three digits would show as a thousand of the step below


def count_text(amount: int, unit: str = "") -> str:
    """Return an amount with three digits and a decimal prefix: ``12.3 M``, ``1.05 MB``."""
    for step, prefix in _STEPS:
        if amount >= _ROUNDED_UP * step:
            return f"{amount / step:.{_decimals(amount / step)}f} {prefix}{unit}"
    return f"{amount} {unit}".strip()


def ms_text(milliseconds: float) -> str:
    """Return a latency with three digits, ``12.3 ms``; above them whole ones: ``1,234 ms``."""
    return f"{milliseconds:,.0f} ms" if milliseconds >= 999.5 else f"{milliseconds:.3g} ms"


def amount_text(cost: str, value: float) -> str:
    """Return an amount of a cost, as a budget calls it, with its unit."""
    if cost.startswith(LATENCY):
        return ms_text(value)
    return count_text(int(value), "B" if cost in _BYTES else "")


def share_text(part: float, whole: float) -> str:
    """Return ``part`` as a percentage of ``whole``, rounded up so that a limit is never hidden."""
    tenths = ceil(1000 * part / whole - 1e-6) if whole else 0
    return f"{tenths / 10:.1f}%"


def duration_text(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _decimals(number: float) -> int:
    return 2 if number < 9.995 else 1 if number < 99.95 else 0
