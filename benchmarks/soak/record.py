"""What a soak found so far, line by line, so that a run that is cut keeps it."""

import json
from pathlib import Path
from threading import Lock
from typing import Any

Entry = dict[str, Any]


class Record:
    """A file of entries, oldest first; threads may add to it at the same time.

    Args:
        folder: Where the file is; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._lock = folder / "record.jsonl", Lock()
        self._entries = _read(self._file)

    def add(self, what: str, **facts: Any) -> None:
        """Append an entry of plain JSON types."""
        entry = {"what": what, **facts}
        with self._lock, self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(entry)}\n")
            self._entries.append(entry)

    def all(self, *kinds: str) -> list[Entry]:
        """Return the entries of some kinds."""
        with self._lock:
            return [entry for entry in self._entries if entry["what"] in kinds]

    @property
    def lives(self) -> list[list[Entry]]:
        """The samples of each process that was the driver, in turn."""
        found: dict[Any, list[Entry]] = {}
        for sample in self.all("sample"):
            found.setdefault(sample["life"], []).append(sample)
        return list(found.values())

    @property
    def seconds(self) -> float:
        """How long drivers were sampled."""
        return float(sum(life[-1]["at"] - life[0]["at"] for life in self.lives))


def _read(file: Path) -> list[Entry]:
    """Return the entries of a file; a line that was cut is none."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
