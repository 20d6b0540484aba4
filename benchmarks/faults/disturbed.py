"""Searches whose surroundings fail: a server, a disk, a clock, and whoever starts them."""

import subprocess
import time
from random import Random

from benchmarks.faults.clock import Clock
from benchmarks.faults.disk import Disk, small_disk
from benchmarks.faults.postgres import postgres
from benchmarks.faults.processes import elsewhere, wait_until
from benchmarks.faults.search import TRIALS, Failed, Search
from benchmarks.faults.totals import totals
from benchmarks.isolated import Note

_WAITS = 20.0  # seconds that a server is away for


def servers(
    note: Note,
    seed: int,
    away: float | None = _WAITS,
    trials: int = TRIALS,
    compare: bool = True,
) -> None:
    """Stop PostgreSQL in the middle of a search, and start it again.

    Args:
        note: Told the facts; see `Totals`; ``code`` is the exit code of what was disturbed.
        seed: Of the moment.
        away: Seconds that it is away for; None until the search has given up.
        trials: Policies that each search scores.
        compare: Whether there is an undisturbed search to compare with.
    """
    rng = Random(seed)
    with totals(note, trials, compare) as facts:
        with postgres() as server, facts.search(server=server.url) as search:
            driver = search.under_way(rng)
            server.stop()
            if away is not None:
                time.sleep(away)
            else:
                search.ended(driver)
            server.start()
            search.books.look()
            code = search.ended(driver)
            if code != 0:
                search.finish()
            facts.add(search, code=code)


def disks(note: Note, seed: int, shared: bool, trials: int = TRIALS, compare: bool = True) -> None:
    """Let the disk of a run be full in the middle of a search, make room, and go on.

    Args:
        note: Told the facts; see `servers`.
        seed: Of the moment.
        shared: Whether the database that runs share is on that disk too.
        trials: Policies that each search scores.
        compare: Whether there is an undisturbed search to compare with.
    """
    rng = Random(seed)
    with totals(note, trials, compare) as facts:
        with small_disk() as disk, facts.search(**disk.settings(shared)) as search:
            driver = search.under_way(rng)
            code = _filled(disk, search, driver)
            disk.empty()
            search.books.look()
            search.finish()
            facts.add(search, code=code)


def _filled(disk: Disk, search: Search, driver: subprocess.Popen[bytes]) -> int:
    """Keep the disk full until a process has ended, and return its exit code."""

    def ended() -> bool:
        disk.fill()
        return driver.poll() is not None

    wait_until(ended)
    return search.ended(driver)


def clocks(note: Note, seed: int, trials: int = TRIALS, compare: bool = True) -> None:
    """Let the wall clock of the searching process jump by days, again and again.

    Args:
        note: Told the facts; see `servers`; ``jumps`` tells how often.
        seed: Of the jumps.
        trials: Policies that each search scores.
        compare: Whether there is an undisturbed search to compare with.
    """
    rng = Random(seed)
    with totals(note, trials, compare) as facts:
        clock = Clock(facts.folder / "clock")
        with facts.search(environment=clock.environment) as search:
            driver, jumps = search.start(), 0
            while driver.poll() is None:
                clock.jump(rng)
                jumps += 1
                time.sleep(rng.uniform(0.2, 2.0))
            search.check(search.ended(driver))
            facts.add(search, jumps=jumps, code=driver.returncode)


def clocks_apart(note: Note, seed: int, trials: int = 30) -> None:
    """The same for an agent on what seems another machine: no other must take it for dead."""
    rng = Random(seed)
    with totals(note, trials) as facts:
        clock = Clock(facts.folder / "clock")
        with postgres() as server, facts.search(server=server.url) as search:
            first = search.start()
            wait_until(lambda: search.books.done(1) or first.poll() is not None)
            search.environment = clock.environment
            second, jumps = search.join(within=elsewhere("other-machine")), 0
            while second.poll() is None:
                clock.jump(rng)
                jumps += 1
                time.sleep(rng.uniform(0.2, 2.0))
            codes = [search.ended(second), search.ended(first)]
            search.check(max(codes))
            told = search.books.lines()
            helped = sum((one.what, one.process) == ("stored", second.pid) for one in told)
            facts.add(search, jumps=jumps, helped=helped, code=max(codes))


def pairs(note: Note, seed: int, times: int, server: bool, trials: int = TRIALS) -> None:
    """Start the same scheduled command twice at the same moment.

    Args:
        note: Told the facts; see `Totals`; ``left`` counts those that left it to the other.
        seed: Of who is first by how much.
        times: How often.
        server: Whether the run lives on a PostgreSQL, in two folders; else in one folder.
        trials: Policies that each search scores.
    """
    rng, left = Random(seed), 0
    with totals(note, trials) as facts:
        for _ in range(times):
            if not server:
                with facts.search() as search:
                    left += _twice(search, rng, ())
                    facts.add(search, left=left)
                continue
            with postgres() as own, facts.search(server=own.url) as search:
                left += _twice(search, rng, ("--out", "other"))
                facts.add(search, left=left)


def _twice(search: Search, rng: Random, other: tuple[str, ...]) -> int:
    """Return how many of two left the search to the other one; both must end with 0."""
    both = [search.start("--deadline", "1h")]
    time.sleep(rng.choice([0.0, 0.0, rng.uniform(0, 1)]))
    both.append(search.start("--deadline", "1h", *other))
    codes = [search.ended(one) for one in both]
    if any(codes):
        raise Failed(f"exit codes {codes}: {search.said()}")
    scored = {line.process for line in search.books.lines() if line.what == "verify"}
    return len({one.pid for one in both} - scored)
