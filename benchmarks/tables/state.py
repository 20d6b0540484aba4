"""Scores on disk, one line each, appended as they come."""

import json
from collections.abc import Mapping
from pathlib import Path

from autoprune.artifacts.files import write_text

Entry = Mapping[str, float]


class State:
    """A file of scores; a kill costs the score that was being made.

    Args:
        path: The file; its folder must exist. What another identity wrote is dropped.
        identity: Of everything that scores depend on.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._entries = dict(_read(path, identity))
        lines = [identity, *(json.dumps(entry) for entry in self._entries.items())]
        write_text(path, "\n".join(lines) + "\n")  # a line cut short by a kill is gone
        self._path = path

    def get(self, key: str) -> Entry | None:
        """Return what was put under ``key``, or None."""
        return self._entries.get(key)

    def put(self, key: str, **entry: float) -> Entry:
        """Keep an entry, on disk too, and return it."""
        self._entries[key] = entry
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, entry]) + "\n")
        return entry

    def total(self, name: str) -> float:
        """Return the sum of a number over all entries."""
        return sum(entry[name] for entry in self._entries.values())


def _read(path: Path, identity: str) -> list[tuple[str, Entry]]:
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    if lines[0] != identity:
        return []
    return [_entry(line) for line in lines[1:-1]]  # the last one is empty or cut


def _entry(line: str) -> tuple[str, Entry]:
    key, entry = json.loads(line)
    return key, entry
