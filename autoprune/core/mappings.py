"""What tells two mappings apart."""

from collections.abc import Mapping


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Return the names that are in one mapping only or stand for something else, sorted."""
    return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
