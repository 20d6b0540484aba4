"""A soak: one long search, others beside it, faults, and a look at all of them now and then."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event

from benchmarks.faults.postgres import postgres
from benchmarks.isolated import Note, first_line
from benchmarks.soak.facts import facts_of
from benchmarks.soak.long import Long
from benchmarks.soak.record import Record
from benchmarks.soak.sequence import search_on

_EVERY = 5.0  # seconds from one sample to the next
_TOLD = 12  # samples from one note to the next


def soak(note: Note, minutes: float, pause: float, seed: int, folder: str) -> None:
    """Search for so many minutes; a run that was cut is gone on with for what is left of them.

    Args:
        note: Told the facts; see `facts.facts_of`.
        minutes: How long.
        pause: Seconds from one fault of the long search to the next, on average.
        seed: Of faults and moments.
        folder: Where the record is kept.
    """
    record, rng = Record(Path(folder)), Random(seed)
    note(**facts_of(record))
    seconds = 60 * minutes - record.seconds
    if seconds <= 0:
        return
    with postgres() as server, TemporaryDirectory(prefix="soak-") as place:
        long = Long(Path(place), server, record, Random(rng.random()))
        try:
            _soaked(long, record, note, rng, seconds, pause)
            record.add("over", **long.tally())
        finally:
            long.search.close()
    note(**facts_of(record))


def _soaked(
    long: Long, record: Record, note: Note, rng: Random, seconds: float, pause: float
) -> None:
    """Let all of it go on at the same time, until the long search has ended."""
    over, until = Event(), time.monotonic() + seconds
    with ThreadPoolExecutor() as threads:
        begun = {
            "long": threads.submit(long.live, seconds, over),
            "sampling": threads.submit(_sample, long, record, note, over),
            "disturbing": threads.submit(long.disturb, over, pause),
        }
        try:
            search_on(record, rng, until, over)
            wait(begun.values())
        except BaseException:  # whoever ends this benchmark wants the searches ended too
            over.set()
            long.search.close()
            raise
    for name, one in begun.items():
        if (err := one.exception()) is not None:
            record.add("failure", of=name, failure=first_line(err))


def _sample(long: Long, record: Record, note: Note, over: Event) -> None:
    """Sample until it is over."""
    count = 0
    while not over.wait(_EVERY):
        long.sample()
        count += 1
        if count % _TOLD == 0:
            note(**facts_of(record))
