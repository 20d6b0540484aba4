"""The table of rules, open to new ones."""

from collections.abc import Callable

from autoprune.surgery.op import Op

Rule = Callable[[Op], None]
RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register a rule for ops by name, for instance ``@rule("aten.relu")``.

    A rule joins and seals ids through the `Op` it gets and calls ``op.give`` once.

    Raises:
        ValueError: If an op has a rule already.
    """

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in RULES:
                raise ValueError(f"The op {op!r} has a rule already: {RULES[op].__name__}.")
            RULES[op] = function
        return function

    return register
