"""What the searches of one task add up to."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.search import Search
from benchmarks.isolated import Note

SEED = 0


@dataclass
class Totals:
    """Facts of a task, told whenever a search has come to its end.

    Args:
        note: Told ``kills``, ``searches``, ``evaluations``, ``lost``, ``done_twice``,
            ``left_running``, ``moments`` (kills by what the process did last), and for searches
            that repeat themselves ``same``: how many came to the undisturbed policy.
        folder: Where searches get their folders.
        trials: Policies that each scores.
    """

    note: Note
    folder: Path
    trials: int
    policy: str = ""  # of an undisturbed search, which others are compared with if it is given
    moments: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return self.counts["kills"]

    @contextmanager
    def search(self, **settings: Any) -> Iterator[Search]:
        """Yield a fresh search; whatever is left of it afterwards is killed."""
        number = len(list(self.folder.glob("search*")))
        folder = self.folder / f"search{number}"
        search = Search(folder=folder, seed=SEED, trials=self.trials, **settings)
        try:
            yield search
        finally:
            search.close()

    def alone(self) -> tuple[str, float]:
        """Search in one process without any fault; return its policy and the seconds it takes."""
        with self.search() as search:
            began = time.monotonic()
            search.finish()
            return search.policy, time.monotonic() - began

    def killed(self, moment: str) -> None:
        """Count a process that was killed."""
        self.moments[moment] += 1
        self.counts["kills"] += 1

    def add(self, search: Search, **facts: object) -> None:
        """Count what became of a search that ended, and tell it.

        Args:
            search: The search.
            facts: What else is known.
        """
        self.counts.update(search.tally(), searches=1)
        if self.policy:
            self.counts["same"] += search.policy == self.policy
            self.counts["compared"] += 1
        self.note(**self.counts, moments=dict(self.moments), **facts)


@contextmanager
def totals(note: Note, trials: int, compare: bool = False) -> Iterator[Totals]:
    """Yield totals of nothing yet, in a folder that is removed afterwards.

    Args:
        note: Told the facts.
        trials: Policies that each search scores.
        compare: Whether there is an undisturbed search to compare with.
    """
    with TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        note(stage="begun")
        facts = Totals(note, Path(folder), trials)
        if compare:
            facts.policy, _ = facts.alone()
        yield facts
