"""What a task leaves of a search space."""

import warnings
from collections.abc import Sequence

from autoprune.errors import ConfigError
from autoprune.methods import find_method
from autoprune.space.schema import SearchSpace
from autoprune.tasks import Task


def space_for(task: Task | None, space: SearchSpace) -> SearchSpace:
    """Return the space without what the task protects, and without gradients if it has none.

    Args:
        task: The task; None where there is none, hence no gradients either.
        space: The space.

    Raises:
        ConfigError: If no method is left.
    """
    if task is None or not task.has_loss:
        space = without_gradients(space)
    if task is None or not task.protect:
        return space
    return space.model_copy(update={"protect": (*space.protect, *task.protect)})


def without_gradients(space: SearchSpace) -> SearchSpace:
    """Return the space with the methods that look at weights alone.

    Raises:
        ConfigError: If it or a rule of it has no such method.
    """
    rules = tuple(
        rule.model_copy(update={"methods": _plain(rule.methods, repr(rule.match))})
        if rule.methods
        else rule
        for rule in space.units
    )
    methods = _plain(space.methods, "the search space")
    return space.model_copy(update={"methods": methods, "units": rules})


def _plain(methods: Sequence[str], whose: str) -> tuple[str, ...]:
    plain = tuple(m for m in methods if not find_method(m).criterion.needs_gradients)
    if not plain:
        raise ConfigError(
            f"All methods of {whose} need gradients: {', '.join(methods)}. Give a task that has a "
            "loss, or allow l1, l2, fpgm or bn_scale."
        )
    left = {find_method(method).structure.kind for method in plain}
    lost = [method for method in methods if find_method(method).structure.kind not in left]
    if lost:
        warnings.warn(
            f"{', '.join(lost)} of {whose} are left out, for they need gradients and the task has "
            "no loss. Nothing else is there for what they prune.",
            stacklevel=4,
        )
    return plain
