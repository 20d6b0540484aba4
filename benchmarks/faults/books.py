"""What is known of a disturbed search: its journal, its database, and what befell it."""

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults import journal, stored
from benchmarks.faults.journal import Key, Line, Row


@dataclass
class Books:
    """The books of one search.

    Args:
        file: Its journal.
        database: URL of a server, or SQLite file, where the run is stored.
        dead: Processes that ended by a fault.
        seen: What was stored when one of them had ended.
    """

    file: Path
    database: str | Path
    dead: set[int] = field(default_factory=set)
    seen: dict[Key, Row] = field(default_factory=dict)

    def look(self) -> None:
        """Remember what is stored now, for it must be there in the end."""
        for key, row in stored.evaluations(self.database).items():
            self.seen.setdefault(key, row)

    def lines(self) -> list[Line]:
        """Return the journal."""
        return journal.read(self.file)

    def done(self, count: int) -> bool:
        """Tell whether so many evaluations were stored."""
        return sum(line.what == "stored" for line in self.lines()) >= count

    def last_of(self, process: int) -> str:
        """Return the last thing that a process noted."""
        told = [line.what for line in self.lines() if line.process == process]
        return told[-1] if told else "starting"

    def counts(self) -> dict[str, int]:
        """Return what a search that ended lost, did twice and left running, processes aside."""
        lines, last = self.lines(), stored.evaluations(self.database)
        return {
            "evaluations": len({line.policy for line in lines if line.what == "stored"}),
            "lost": journal.lost(lines, self.seen, last),
            "done_twice": journal.done_twice(lines, self.dead, self.seen, last),
            "left_running": stored.running(self.database),
        }
