"""What comes with autoprune, as a list for people or programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autoprune.cli.streams import echo


def print_shipped(
    found: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str] = ("name",)
) -> None:
    """Print what there is: all of it as JSON, or on a line each its columns and ``description``.

    Args:
        found: Of each the same keys; one at least.
        as_json: Whether it is printed as a JSON list.
        columns: Keys of texts, which stand below each other.
    """
    if as_json:
        echo(json.dumps(found, indent=2))
        return
    widths = {key: max(len(one[key]) for one in found) for key in columns}
    for one in found:
        padded = [f"{one[key]:{width}}" for key, width in widths.items()]
        echo("  ".join([*padded, one["description"]]))
