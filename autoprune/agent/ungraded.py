"""A search space without the methods that need gradients, where there are none to be had."""

from collections.abc import Sequence

from autoprune.errors import ConfigError
from autoprune.methods import find_method
from autoprune.space.schema import SearchSpace


def without_gradients(space: SearchSpace) -> SearchSpace:
    """Return the space with the methods that look at weights alone.

    Raises:
        ConfigError: If it or a rule of it has no such method for a kind of units it prunes.
    """
    rules = [
        rule.model_copy(update={"methods": _plain(rule.methods, repr(rule.match))})
        if rule.methods
        else rule
        for rule in space.units
    ]
    methods = _plain(space.methods, "the search space")
    return space.model_copy(update={"methods": methods, "units": tuple(rules)})


def _plain(methods: Sequence[str], whose: str) -> tuple[str, ...]:
    plain = tuple(m for m in methods if not find_method(m).criterion.needs_gradients)
    left = {find_method(method).structure.kind for method in plain}
    lost = [method for method in methods if find_method(method).structure.kind not in left]
    if lost:
        raise ConfigError(
            f"Methods of {whose} need gradients, and no other is there for what they prune: "
            f"{', '.join(lost)}. Give a task that has a loss, or allow l1, l2, fpgm or bn_scale."
        )
    return plain
