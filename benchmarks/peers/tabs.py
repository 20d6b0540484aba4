"""What a table has cost that a tool writes to a file part by part, over all that worked on it."""

import json
import time
from pathlib import Path

from autoprune.artifacts.files import write_text
from benchmarks.peers.counting import Count


class Tab:
    """Keeps, beside a table, what the parts that it holds have cost.

    A process that is cut loses the part it was at, which the next one makes again: it is paid
    for once.

    Args:
        table: The tool's file; it is removed where nobody knows what it cost.
        count: Counts what this process computes.
    """

    def __init__(self, table: Path, count: Count) -> None:
        self._table, self._count, self._start = table, count, time.monotonic()
        self._file = table.with_suffix(".json")
        self.macs = self.seconds = 0.0  # by those before this process
        if table.exists() and self._file.exists():
            self.macs, self.seconds = json.loads(self._file.read_text(encoding="utf-8"))
        else:
            table.unlink(missing_ok=True)
        self._seen = self._written()

    def look(self) -> None:
        """Note what was spent so far, if the table has grown since the last look.

        Called before something else is computed for it, and at the end.
        """
        written = self._written()
        if written != self._seen:
            self._seen = written
            seconds = time.monotonic() - self._start
            spent = [self.macs + self._count.macs, self.seconds + seconds]
            write_text(self._file, json.dumps(spent))

    def _written(self) -> int | None:
        return self._table.stat().st_mtime_ns if self._table.exists() else None
