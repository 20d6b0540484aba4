"""One search whose surroundings fail for hours, and whose driver lives."""

import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from random import Random
from subprocess import Popen, TimeoutExpired
from threading import Event
from typing import Any

from benchmarks.faults.postgres import Server
from benchmarks.faults.processes import LONG, elsewhere, kill, workers
from benchmarks.faults.search import Search
from benchmarks.soak.record import Record
from benchmarks.soak.sampled import entries, family, held, stored

_WORKERS = 2
_AWAY = 20.0  # seconds that the server is away for
_HELPS = (15.0, 40.0)  # seconds that an agent has until it is killed
_TRIALS = 1_000_000  # more than there is time for
_NAMES = 10  # files left that are named
_SHARED = Path("/dev/shm")
_ROUND = ("worker",) * 5 + ("agent",) * 2 + ("server",)
_RECOVERY = {
    "score_steps": 2,
    "recover_steps": 20,
    "finalists": 2,
    "calibration_batches": 1,
    "stages": [[1, 1]],
}


class Long:
    """The search.

    Args:
        folder: Where its files are written.
        server: Where it is stored.
        record: Told samples, faults, and how its drivers ended.
        rng: Decides which fault comes when.
    """

    def __init__(self, folder: Path, server: Server, record: Record, rng: Random) -> None:
        self._server, self._record, self._rng = server, record, rng
        self._temporary, self._killed = folder / "tmp", folder / "killed"
        self._temporary.mkdir(parents=True)
        self._killed.mkdir()  # what is killed cannot tidy up
        self.search = Search(
            folder=folder / "search",
            seed=0,
            trials=_TRIALS,
            server=server.url,
            recovery=_RECOVERY,
            environment={"TMPDIR": str(self._temporary)},
        )
        self._driver: Popen[bytes] | None = None
        self._eldest: int | None = None
        self._began = time.monotonic()
        self._next: deque[str] = deque()
        self._name = f"{self._began:.0f}"  # tells it from those of earlier sessions
        self._before = _in_shared_memory()

    def live(self, seconds: float, over: Event) -> None:
        """Search until the time is over; go on where a driver ended before.

        Args:
            seconds: How long.
            over: Set at the end.
        """
        try:
            while True:
                left = seconds - (time.monotonic() - self._began)
                self._driver = self.search.start(
                    "--workers", str(_WORKERS), "--timeout", f"{max(left, 1):.0f}s"
                )
                code = self.search.ended(self._driver, max(left, 0) + LONG)
                self._record.add("ended", code=code, said=self.search.said() if code else "")
                if code == 0 or left <= 0 or over.is_set():
                    return
        finally:
            over.set()

    def sample(self) -> None:
        """Tell the record what is held at this moment, once evaluations are stored."""
        driver, done = self._driver, self._evaluations()
        if driver is None or not done or driver.poll() is not None:
            return
        crew = workers(driver.pid)
        if self._eldest not in crew:
            self._eldest = crew[0] if crew else None
        self._record.add(
            "sample",
            search=self._name,
            life=f"{self._name}.{driver.pid}",
            at=round(time.monotonic() - self._began, 1),
            evaluations=done,
            driver=held([driver.pid]),
            worker=held([self._eldest] if self._eldest else []),
            eldest=self._eldest,
            server=held(family(self._server.process)),
            **stored(self._server),
            **self._left(),
        )

    def disturb(self, over: Event, pause: float) -> None:
        """Let one thing after the other fail, until the time is over.

        Args:
            over: Set then.
            pause: Seconds from one fault to the next, on average.
        """
        while not over.wait(self._rng.uniform(0.5, 1.5) * pause):
            if not self._evaluations():
                continue
            if not self._next:
                self._next.extend(self._rng.sample(_ROUND, len(_ROUND)))
            kind = self._next.popleft()
            if {"worker": self._kill, "agent": self._help, "server": self._part}[kind](over):
                self._record.add("fault", kind=f"long.{kind}")

    def tally(self) -> dict[str, Any]:
        """Return what it came to, and what is left of it; it has ended."""
        counts: dict[str, Any] = dict(self.search.tally())
        names = sorted(str(one.relative_to(self._temporary)) for one in entries(self._temporary))
        names += sorted(_in_shared_memory() - self._before)
        counts |= {"search": self._name, "names": names[:_NAMES]}
        return {**counts, **stored(self._server), **self._left()}

    def _evaluations(self) -> int:
        file = self.search.books.file
        return file.read_bytes().count(b'"what": "stored"') if file.exists() else 0

    def _left(self) -> dict[str, int]:
        shared = _in_shared_memory() - self._before
        return {"temporary": len(entries(self._temporary)), "shared_memory": len(shared)}

    def _kill(self, over: Event) -> bool:
        """Kill a worker, but never the one that has lived longest."""
        crew = workers(self._driver.pid) if self._driver is not None else []
        victims = [one for one in crew if one != (self._eldest or crew[0])]
        if not victims:
            return False
        victim = self._rng.choice(victims)
        self.search.books.dead.add(victim)
        kill(victim)
        self.search.books.look()
        return True

    def _help(self, over: Event) -> bool:
        """Start an agent, here or on what seems another machine, and kill it after a while."""
        within = elsewhere("other-machine") if self._rng.random() < 0.5 else ()
        aside = ["env", f"TMPDIR={self._killed}"]
        agent = self.search.join("--wait", "5m", within=[*within, *aside])
        over.wait(self._rng.uniform(*_HELPS))
        with suppress(TimeoutExpired):
            agent.wait(0)
        alive = agent.poll() is None
        self.search.kill(agent)
        self.search.books.look()
        return alive

    def _part(self, over: Event) -> bool:
        """Stop the server for a while."""
        self.search.books.look()
        self._server.stop()
        over.wait(_AWAY)
        self._server.start()
        return True


def _in_shared_memory() -> set[str]:
    """Return what lies in memory that processes share, but what servers keep there as they run."""
    return {one.name for one in _SHARED.iterdir() if not one.name.startswith("PostgreSQL.")}
