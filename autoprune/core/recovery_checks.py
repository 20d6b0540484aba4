"""What the settings of the recovery may be, each said in one sentence."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from autoprune.core.numbers import MOST, check_at_least
from autoprune.errors import ConfigError

Shares = tuple[tuple[float, float], ...]


def check_number(name: str, value: Any, low: int, kind: Any) -> None:
    """Refuse what is no number of a kind, ``int`` or ``int | float``, too small or too large.

    Raises:
        ConfigError: If it is refused.
    """
    check_at_least(f"recovery.{name}", value, low, kind)
    if value > MOST:
        raise ConfigError(f"recovery.{name} must be at most {MOST:,}. Got {value!r}.")


def check_positive_share(name: str, value: Any) -> None:
    """Refuse what is no share above 0 and at most 1.

    Raises:
        ConfigError: If it is refused.
    """
    if not _is_share(value):
        raise ConfigError(
            f"recovery.{name} must be a number above 0 and at most 1, like 0.2. Got {value!r}."
        )


def names_in(given: Any) -> tuple[str, ...]:
    """Return the names of modules; a single one may be given as it is.

    Raises:
        ConfigError: If it is no list of names.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and n for n in names):
        raise ConfigError(
            "recovery.distill_modules must be a list of names of modules, like [layer1, layer2], "
            f"or [] to have them chosen. Got {given!r}."
        )
    return tuple(names)


def stages_in(given: Any) -> Shares:
    """Return checked stages as tuples; none is one at the end.

    Raises:
        ConfigError: If they are no such pairs.
    """
    stages = given if isinstance(given, list | tuple) else [given]
    if not stages:
        return ((1.0, 1.0),)
    fine = all(isinstance(one, list | tuple) and len(one) == 2 for one in stages)
    if fine and all(map(_is_share, (share for one in stages for share in one))):
        rising = all(a <= c and b <= d for (a, b), (c, d) in pairwise(stages))
        if rising and tuple(stages[-1]) == (1, 1):
            return tuple((float(steps), float(split)) for steps, split in stages)
    raise ConfigError(
        "recovery.stages must be pairs [share of score_steps, share of the search split], shares "
        "above 0 and at most 1, neither falling from one pair to the next, and the last [1, 1]. "
        f"Got {given!r}. For instance [[0.33, 0.25], [1, 0.25], [1, 1]], or [] for no stages."
    )


def check_effect(
    effects: Mapping[str, tuple[bool, Sequence[str]]], changed: Sequence[str]
) -> None:
    """Refuse settings without effect: whoever gave them expects one.

    Args:
        effects: Whether something was asked for, and the settings that need it, by what it is.
        changed: Settings that differ from their defaults.

    Raises:
        ConfigError: If one has no effect.
    """
    for needed, (asked, settings) in effects.items():
        idle = [name for name in settings if name in changed and not asked]
        if idle:
            raise ConfigError(
                f"recovery.{idle[0]} has no effect without recovery.{needed}. Leave it out, or "
                "set that too."
            )


def _is_share(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 1
