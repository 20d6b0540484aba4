"""Parameters as people read them: the share of a unit that is removed, in place of a level."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution

from autoprune.space.schema import UnitSpace

LEVEL, METHOD = "level:", "method:"
_SPARSITY = FloatDistribution(0.0, 1.0)
_PLAIN = str.maketrans("<>", "\u2039\u203a")  # figures take some HTML, in names of axes too


def plain(text: str) -> str:
    """Return a name that nobody takes for HTML, on one line."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split()).translate(
        _PLAIN
    )


def shown_params(
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    spaces: Mapping[str, UnitSpace],
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return parameters and their distributions under the names that people read.

    Args:
        params: Values by name.
        distributions: What each was drawn from.
        spaces: What the levels of each unit stand for; of units that are absent they stay levels.
    """
    values, drawn = dict[str, Any](), dict[str, BaseDistribution]()
    for name, value in params.items():
        unit = name.removeprefix(LEVEL)
        if name.startswith(LEVEL) and unit in spaces and value < spaces[unit].levels:
            space = spaces[unit]
            method = params.get(METHOD + unit, space.methods[0])
            shown = f"{plain(unit)}: sparsity"
            values[shown], drawn[shown] = space.choice(method, value).sparsity, _SPARSITY
        else:
            shown = _shown(name)
            values[shown], drawn[shown] = value, distributions[name]
    return values, drawn


def _shown(name: str) -> str:
    for prefix in (LEVEL, METHOD):
        if name.startswith(prefix):
            return f"{plain(name.removeprefix(prefix))}: {prefix[:-1]}"
    return plain(name)
