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

from benchmarks.faults.books import Books
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
        recovery: How policies are scored, if otherwise than usual.
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
    recovery: Mapping[str, Any] = field(default_factory=lambda: _SETTINGS["recovery"])
    environment: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        stored = self.server or self._outside(self.out / "autoprune.db")
        self.books = Books(self.folder / "journal.jsonl", stored)
        given = {**_SETTINGS, "seed": self.seed, "trials": self.trials, "out": str(self.out)}
        given["recovery"] = dict(self.recovery)
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
        wait_until(lambda: self.books.done(count) or driver.poll() is not None)
        return driver

    def join(self, *words: str, within: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Start an agent that helps it."""
        words = ("agent", "join", _NAME, *words)
        return self._started(words, self.within if within is None else within)

    def kill(self, process: subprocess.Popen[bytes]) -> str:
        """Kill one of its processes, and return what that was about to do."""
        stage = self.books.last_of(process.pid)
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
            self.books.dead.add(process.pid)
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

    def tally(self) -> dict[str, int]:
        """Return what the search, which has ended, lost, did twice and left running.

        Raises:
            Failed: If its journal is empty, which would tell of no loss either.
        """
        gone = wait_until(lambda: not self.processes, _PATIENCE)
        counts = self.books.counts()
        if not counts["evaluations"]:
            raise Failed("its journal tells of no evaluation: what is observed has other names")
        counts["left_running"] += 0 if gone else len(self.processes)
        return counts

    def close(self) -> None:
        """Kill whatever is left of it."""
        for process in self.processes:
            kill(process)

    @property
    def policy(self) -> str:
        """What it came to, as JSON."""
        return self._outside(self.out / "policy.json").read_text(encoding="utf-8")

    @property
    def processes(self) -> set[int]:
        """All that belong to it and live."""
        return marked(self._mark)

    def said(self) -> str:
        """Return the last line that each of its processes printed, the latest process first."""
        texts = [file.read_text(errors="replace") for file in sorted(self._printed)[::-1]]
        return " | ".join(text.strip().rpartition("\n")[2][:200] for text in texts)

    @property
    def _printed(self) -> list[Path]:
        return list(self.folder.glob("said-*.txt"))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its processes."""
        own = {
            "AUTOPRUNE_DATABASE": self.server or str(self.out.parent / "shared.db"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(CHECKOUT),
            JOURNAL: str(self.books.file),
        }
        return {**os.environ, **own, **self.environment}

    @property
    def _mark(self) -> str:
        return f"{JOURNAL}={self.books.file}"

    def _outside(self, path: Path) -> Path:
        return Path(f"{self.root}{path}")

    def _started(self, words: Sequence[str], within: Sequence[str]) -> subprocess.Popen[bytes]:
        command = [*within, sys.executable, "-m", "benchmarks.faults.observed", *words]
        with (self.folder / f"said-{len(self._printed):03}.txt").open("wb") as said:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.variables, stdout=said, stderr=said
            )

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
