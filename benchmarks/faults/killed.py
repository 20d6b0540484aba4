"""Processes of a search that are killed at random moments."""

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from benchmarks.faults.postgres import postgres
from benchmarks.faults.processes import elsewhere, kill, workers
from benchmarks.faults.search import TRIALS, Search
from benchmarks.faults.totals import Totals, totals
from benchmarks.isolated import Note

_OTHER = "other-machine"
_WAIT = "20m"  # what an agent is started with that may come before the run


def drivers(note: Note, seed: int, kills: int, trials: int = TRIALS) -> None:
    """Kill the searching process at moments drawn from as long as an undisturbed search takes.

    Args:
        note: Told the facts; see `Totals`.
        seed: Of the moments.
        kills: How many; a search that ends between two is followed by a fresh one.
        trials: Policies that each search scores.
    """
    rng = Random(seed)
    with totals(note, trials) as facts:
        facts.policy, whole = facts.alone()
        while facts.kills < kills:
            with facts.search() as search:
                _kill_driver(facts, search, rng, whole, kills)
                facts.add(search)


def _kill_driver(facts: Totals, search: Search, rng: Random, whole: float, kills: int) -> None:
    """Kill a search again and again until it has ended."""
    while facts.kills < kills:
        driver = search.start()
        try:
            driver.wait(rng.uniform(0, whole))
        except subprocess.TimeoutExpired:
            facts.killed(search.kill(driver))
            search.books.look()
        else:
            search.check(driver.returncode)
            return
    search.finish()


def crews(note: Note, seed: int, kills: int, trials: int = TRIALS) -> None:
    """Kill workers at random moments of the time in which there are any.

    Args:
        note: Told the facts; see `Totals`.
        seed: Of the moments and of who is killed.
        kills: How many.
        trials: Policies that each search scores.
    """
    rng = Random(seed)
    with totals(note, trials) as facts:
        while facts.kills < kills:
            with facts.search() as search:
                driver = search.start("--workers", "2")
                while driver.poll() is None and facts.kills < kills:
                    _kill_one(facts, search, rng, workers(driver.pid))
                search.check(search.ended(driver))
                facts.add(search)


def _kill_one(facts: Totals, search: Search, rng: Random, found: Sequence[int]) -> None:
    """Kill a worker, if there is one, and give the others some time."""
    if found:
        victim = rng.choice(found)
        facts.killed(search.books.last_of(victim))
        search.books.dead.add(victim)
        kill(victim)
        search.books.look()
    time.sleep(rng.uniform(0.5, 6.0))


def agents(note: Note, seed: int, kills: int, apart: bool, trials: int = 60) -> None:
    """Kill agents of a run on PostgreSQL at random moments, and start others in their place.

    Args:
        note: Told the facts; see `Totals`.
        seed: Of the moments and of who is killed.
        kills: How many.
        apart: Whether those that join have another host name, so that only missing beats tell
            that one is dead.
        trials: Policies that each search scores; starting takes as long as scoring some dozens.
    """
    rng = Random(seed)
    with totals(note, trials) as facts:
        _, whole = facts.alone()  # agents of one run do not repeat themselves
        while facts.kills < kills:
            with postgres() as server, facts.search(server=server.url) as search:
                within = elsewhere(_OTHER) if apart else ()
                _killed_agents(facts, search, rng, kills, whole, within)
                facts.add(search)


def _killed_agents(
    facts: Totals, search: Search, rng: Random, kills: int, whole: float, within: Sequence[str]
) -> None:
    """Kill one of two agents at a moment of ``whole`` seconds, again and again, to their end."""
    first, second = search.start(), search.join("--wait", _WAIT, within=within)
    while first.poll() is None and facts.kills < kills:
        with suppress(subprocess.TimeoutExpired):
            first.wait(rng.uniform(0, whole))
        victim = rng.choice([one for one in (first, second) if one.poll() is None] or [first])
        if victim.poll() is not None:
            break
        facts.killed(search.kill(victim))
        search.books.look()
        if victim is first:
            first = search.start()
        else:
            second = search.join("--wait", _WAIT, within=within)
    search.check(search.ended(first))
    search.ended(second)
