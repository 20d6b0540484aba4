"""Prints pyproject's lower bounds as constraints for pip: what users may have at the oldest."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_NEEDED = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*>=\s*(?P<bound>[\w.]+)\s*(?:,.*)?")


def constraints(pyproject: str) -> list[str]:
    """Return ``NAME==BOUND`` for each dependency of users, those of extras included.

    Raises:
        ValueError: If one has no lower bound, or two of them.
    """
    found: dict[str, str] = {}
    for needed in _needed(tomllib.loads(pyproject)["project"]):
        match = _NEEDED.fullmatch(needed)
        if match is None:
            raise ValueError(f"{needed!r} has no lower bound; write NAME>=VERSION.")
        if found.setdefault(match["name"], match["bound"]) != match["bound"]:
            raise ValueError(f"{match['name']!r} has two lower bounds. Write the same one.")
    return [f"{name}=={bound}" for name, bound in sorted(found.items())]


def _needed(project: dict[str, object]) -> Iterator[str]:
    yield from project["dependencies"]
    for extra in project["optional-dependencies"].values():
        yield from extra


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints(Path(sys.argv[1]).read_text("utf-8"))) + "\n")
