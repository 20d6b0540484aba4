"""Short searches one after the other, each with a fault that its driver does not outlive."""

import time
from collections.abc import Callable, Iterator
from random import Random
from threading import Event
from typing import Any

from benchmarks.faults import disturbed, killed, rayed
from benchmarks.isolated import Facts, first_line
from benchmarks.soak.record import Record

_TRIALS = 8  # of each search
Job = tuple[Callable[..., None], dict[str, Any]]


def _jobs(rng: Random) -> dict[str, Job]:
    """Return one job of each kind."""
    short = {"trials": _TRIALS}
    alone = {**short, "compare": False}
    return {
        "driver": (killed.drivers, {"kills": 2, **short}),
        "worker": (killed.crews, {"kills": 2, "trials": 2 * _TRIALS}),
        "agent": (killed.agents, {"kills": 2, "apart": rng.random() < 0.5, **short}),
        "server": (disturbed.servers, alone),
        "disk": (disturbed.disks, {"shared": rng.random() < 0.5, **alone}),
        "clock": (disturbed.clocks, alone),
        "twice": (disturbed.pairs, {"times": 1, "server": rng.random() < 0.5, **short}),
        "ray": (rayed.heads, short),
    }


def _endless(rng: Random) -> Iterator[tuple[str, Job]]:
    """Yield jobs: every kind once in random order, and again."""
    while True:
        jobs = _jobs(rng)
        for kind in rng.sample(sorted(jobs), len(jobs)):
            yield kind, jobs[kind]


def search_on(record: Record, rng: Random, until: float, over: Event) -> None:
    """Search again and again, for as long as another search is likely to end in time.

    Args:
        record: Told what each job came to.
        rng: Decides on kinds and moments.
        until: The moment, of the monotonic clock, when it must have ended.
        over: Set if it must end before.
    """
    longest = 0.0
    for kind, (job, arguments) in _endless(rng):
        began = time.monotonic()
        if over.is_set() or began + longest > until:
            return
        record.add("job", kind=kind, **_done(job, {**arguments, "seed": rng.randrange(10**6)}))
        longest = max(longest, time.monotonic() - began)


def _done(job: Callable[..., None], arguments: dict[str, Any]) -> Facts:
    """Return all that a job noted, and why it failed if it did."""
    found: Facts = {}
    try:
        job(found.update, **arguments)
    except Exception as err:  # a failure is a result
        found["failure"] = first_line(err)
    return {name: value for name, value in found.items() if name not in ("stage", "moments")}
