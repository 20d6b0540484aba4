"""One search that is disturbed: its folder, its processes, and the books kept beside it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.faults import journal, stored
from benchmarks.faults.journal import Key, Line, Row
from benchmarks.faults.observed import JOURNAL
from benchmarks.faults.processes import LONG, kill, marked, wait_until
from benchmarks.provenance import CHECKOUT

TRIALS = 16
_NAME = "faults"  # of the run on a server
_PATIENCE = 60.0  # seconds in which the last processes of a search that ended must be gone
_SETTINGS: Mapping[str, Any] = {
    "model": "benchmarks.faults.network:net",
    "checkpoint": "benchmarks.faults.network:weights",
    "data": "benchmarks.faults.network:loaders",
    "budget": {"macs": "40%"},
    "onnx": False,
    "out": "run",
    "name": _NAME,
    "runner": "file:./runner.yaml",
    "recovery": {
        "score_steps": 20,
        "recover_steps": 40,
        "finalists": 2,
        "calibration_batches": 2,
        "stages": [[1, 1]],  # what was stopped early may be scored again, and rightly so
    },
}
_RUNNER: Mapping[str, Any] = {"kind": "local", "device": "cpu", "threads": 1}


class Failed(Exception):
    """A search that should have come to its end did not."""


@dataclass(kw_only=True)
class Search:
    """A search, started as often as it takes.

    Args:
        folder: Where its files are written; a fresh one.
        seed: Its seed.
        trials: Policies it scores.
        server: URL of a PostgreSQL where it lives; empty for a file in its folder.
        run: Folder of the run, where it is not in ``folder``.
        root: Where ``run`` is seen from outside, if the search sees other mounts.
        runner: Keys of its runner that differ.
        environment: Variables of its processes.
        within: What starts its processes, if it is not the system alone.
    """

    folder: Path
    seed: int
    trials: int = TRIALS
    server: str = ""
    run: Path | None = None
    root: str = ""
    runner: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()
    dead: set[int] = field(default_factory=set)  # processes that ended by a fault
    seen: dict[Key, Row] = field(default_factory=dict)  # what was stored when one of them ended

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        given = {**_SETTINGS, "seed": self.seed, "trials": self.trials, "out": str(self.out)}
        self._write("search.yaml", given)
        self._write("runner.yaml", {**_RUNNER, **self.runner})

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return self.run or self.folder / "run"

    def start(self, *words: str, within: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Start the search, or go on with it."""
        words = (
            "search",
            str(self.folder / "search.yaml"),
            "--if-exists",
            "resume",
            "--json",
            *words,
        )
        return self._started(words, self.within if within is None else within)

    def under_way(self, rng: Random) -> subprocess.Popen[bytes]:
        """Start it, and return once it has stored some evaluations."""
        driver, count = self.start(), rng.randint(2, self.trials // 2)
        wait_until(lambda: self.done(count) or driver.poll() is not None)
        return driver

    def join(self, *words: str, within: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Start an agent that helps it."""
        words = ("agent", "join", _NAME, *words)
        return self._started(words, self.within if within is None else within)

    def kill(self, process: subprocess.Popen[bytes]) -> str:
        """Kill one of its processes, and return what that was about to do."""
        stage = self.stage(process.pid)
        process.kill()
        self.ended(process)
        return stage

    def ended(self, process: subprocess.Popen[bytes], limit: float = LONG) -> int:
        """Wait for a process, and return its exit code; it fell to a fault if that is not 0.

        Raises:
            Failed: If it does not end in time.
        """
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed(f"it still ran after {limit:g} s: {self.said()}") from None
        if code != 0:
            self.dead.add(process.pid)
        return code

    def finish(self) -> None:
        """Go on to the end.

        Raises:
            Failed: If it does not end with a result.
        """
        self.check(self.ended(self.start()))

    def check(self, code: int) -> None:
        """Raise `Failed` unless the search ended with a result."""
        if code != 0 or not self._outside(self.out / "result.json").exists():
            raise Failed(f"exit code {code}: {self.said()}")

    def look(self) -> None:
        """Remember what is stored now, for it must be there in the end."""
        for key, row in stored.evaluations(self.database).items():
            self.seen.setdefault(key, row)

    def tally(self) -> dict[str, int]:
        """Return what the search, which has ended, lost, did twice and left running."""
        gone = wait_until(lambda: not marked(self._mark), _PATIENCE)
        lines, last = self.lines(), stored.evaluations(self.database)
        return {
            "evaluations": len({line.policy for line in lines if line.what == "stored"}),
            "lost": journal.lost(lines, self.seen, last),
            "done_twice": journal.done_twice(lines, self.dead, self.seen, last),
            "left_running": stored.running(self.database)
            + (0 if gone else len(marked(self._mark))),
        }

    def close(self) -> None:
        """Kill whatever is left of it."""
        for process in marked(self._mark):
            kill(process)

    @property
    def policy(self) -> str:
        """What it came to, as JSON."""
        return self._outside(self.out / "policy.json").read_text(encoding="utf-8")

    @property
    def database(self) -> str | Path:
        """Where the run is stored."""
        return self.server or self._outside(self.out / "autoprune.db")

    @property
    def processes(self) -> set[int]:
        """All that belong to it and live."""
        return marked(self._mark)

    def lines(self) -> list[Line]:
        """Return its journal."""
        return journal.read(self._journal)

    def done(self, count: int) -> bool:
        """Tell whether so many evaluations were stored."""
        return sum(line.what == "stored" for line in self.lines()) >= count

    def stage(self, process: int) -> str:
        """Return the last thing that a process told."""
        told = [line.what for line in self.lines() if line.process == process]
        return told[-1] if told else "starting"

    def said(self) -> str:
        """Return the end of what its processes printed."""
        path = self.folder / "said.txt"
        return path.read_text(errors="replace")[-600:] if path.exists() else ""

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its processes."""
        own = {
            "AUTOPRUNE_DATABASE": self.server or str(self.out.parent / "shared.db"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(CHECKOUT),
            JOURNAL: str(self._journal),
        }
        return {**os.environ, **own, **self.environment}

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def _mark(self) -> str:
        return f"{JOURNAL}={self._journal}"

    def _outside(self, path: Path) -> Path:
        return Path(f"{self.root}{path}")

    def _started(self, words: Sequence[str], within: Sequence[str]) -> subprocess.Popen[bytes]:
        command = [*within, sys.executable, "-m", "benchmarks.faults.observed", *words]
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.variables, stdout=said, stderr=said
            )

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
