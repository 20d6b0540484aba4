"""Weights of classes in a loss, as settings give them."""

import math
from collections.abc import Callable
from typing import Any

import torch

from autoprune.errors import ConfigError

BALANCED = "balanced"


def check_weights(given: Any, name: str) -> list[float] | str | None:
    """Return weights of classes as plain JSON: a list, ``"balanced"``, or None for no weights.

    Args:
        given: What the user gave: that, or a tensor or array of weights.
        name: Of the setting, for the message.

    Raises:
        ConfigError: If it is something else, or a weight is not finite and above 0.
    """
    plain = given.tolist() if hasattr(given, "tolist") else given
    if plain is None:
        return None
    if plain == BALANCED:
        return BALANCED
    if not isinstance(plain, (list, tuple)) or not plain or not all(map(_is_weight, plain)):
        raise ConfigError(
            f"{name} must be 'balanced' or a list of positive numbers, one for each class. "
            f"Got {given!r}."
        )
    return [float(weight) for weight in plain]


def _is_weight(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def weights_of(
    given: list[float] | str | None, balanced: Callable[[], torch.Tensor]
) -> torch.Tensor | None:
    """Return the weights in use, None for none.

    Args:
        given: What `check_weights` returned.
        balanced: Gives the weights that ``"balanced"`` stands for.
    """
    if given is None:
        return None
    return balanced() if given == BALANCED else torch.tensor(given)


def check_count(weights: torch.Tensor, given: Any, classes: int, name: str) -> None:
    """Raise `ConfigError` unless there is a weight for each class.

    Args:
        weights: The weights in use.
        given: The setting they come from.
        classes: Outputs of the model.
        name: Of the setting, for the message.
    """
    if given != BALANCED and len(weights) != classes:
        raise ConfigError(
            f"{name} must have one weight for each of the model's {classes} outputs. "
            f"Got {len(weights)}."
        )
