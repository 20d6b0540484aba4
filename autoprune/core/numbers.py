"""Numbers that people give: what is allowed, said in one way."""

import re
from collections.abc import Mapping
from decimal import Context
from math import inf
from typing import Any, Literal

from autoprune.errors import ConfigError

MOST = 10**9  # of anything that is counted: more would never end
_COUNT = re.compile(r"[0-9]{1,9}")
_DIGITS = 3  # of limits that are not a person's own
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([smhd]?)\s*")
_SHARES = {"": 1.0, "%": 0.01}
_SHARE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*")


def check_at_least(name: str, value: Any, least: float, kind: Any) -> None:
    """Refuse what is no number of a kind, or too small.

    Args:
        name: What the number is called.
        value: What was given.
        least: The smallest number allowed.
        kind: ``int`` for whole numbers, ``int | float`` for any.

    Raises:
        ConfigError: If it is refused.
    """
    if isinstance(value, bool) or not isinstance(value, kind) or not value >= least:
        number = "whole number" if kind is int else "number"
        raise ConfigError(f"{name} must be a {number} of at least {least}. Got {value!r}.")


def check_share(name: str, value: Any) -> None:
    """Refuse what is no share: a number from 0 to 1.

    Raises:
        ConfigError: If it is refused; it begins with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must be a share from 0 to 1. Got {value!r}.")


def rounded(amount: float, way: str) -> float:
    """Return an amount to three digits, rounded in one of the ways of `decimal`."""
    return float(Context(prec=_DIGITS, rounding=way).create_decimal(repr(float(amount))))


def parse_duration(given: Any, name: str) -> float:
    """Return seconds from a number or from ``90s``, ``10m``, ``2h``, ``1d``.

    Raises:
        ConfigError: If ``given`` is no such text, not above 0, or more than 30 years, which no
            timer takes; it begins with ``name``.
    """
    seconds = _number(given, _DURATION, _SECONDS)
    if not 0 < seconds <= MOST:
        most = f", at most {MOST}" if seconds > MOST else ""
        raise ConfigError(
            f"{name} must be above 0{most}: seconds, or a text like '90s', '10m' or '2h'. "
            f"Got {given!r}."
        )
    return seconds


def parse_share(given: Any, name: str) -> float:
    """Return a share from ``3%`` or ``0.03``.

    Raises:
        ConfigError: If ``given`` is no such text, or not above 0 and below 1; it begins with
            ``name``.
    """
    share = _number(given, _SHARE, _SHARES)
    if not 0 < share < 1:
        raise ConfigError(
            f"{name} must be above 0 and below 1: a share like '3%' or 0.03. Got {given!r}."
        )
    return share


def _number(given: Any, form: re.Pattern[str], units: Mapping[str, float]) -> float:
    """Return a number as it is, a text by its form and unit, and 0 for anything else."""
    if isinstance(given, int | float):
        return 0.0 if isinstance(given, bool) else as_float(given)
    match = form.fullmatch(str(given))
    return float(match[1]) * units[match[2]] if match else 0.0


def as_float(number: float) -> float:
    """Return a number as one with a point; a whole one that is too large is infinite."""
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf


def parse_count(given: Any, what: str) -> int | Literal["auto"]:
    """Return a number of at least 1, or ``auto``.

    Args:
        given: The number, or a text.
        what: What it counts, for the message.

    Raises:
        ConfigError: If it is neither.
    """
    if given == "auto":
        return "auto"
    number = int(given) if isinstance(given, str) and _COUNT.fullmatch(given) else given
    if type(number) is not int or number < 1:
        raise ConfigError(f"{what!r} must be auto or a number of at least 1. Got {given!r}.")
    return number
