"""Show how a run goes on: a bar in a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from autoprune.core.progress import Progress, ProgressCallback, silent
from autoprune.reporting.text import duration_text, quality_text, share_text

_LABELS = {
    "trace": "tracing units",
    "latency": "measuring latency",
    "importance": "ranking atoms",
    "sensitivity": "probing units",
    "search": "scoring policies",
    "measure": "measuring candidates",
    "recover": "fine-tuning finalists",
    "verify": "checking the result",
}


@contextmanager
def progress_for(
    stream: TextIO | None = None, *, quiet: bool = False, every: float = 10.0
) -> Iterator[ProgressCallback]:
    """Yield a callback that shows each `Progress` on ``stream`` (standard error if not given).

    Args:
        stream: A terminal gets a bar, anything else plain lines.
        quiet: Show nothing.
        every: Seconds between two plain lines of one stage at least.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        yield silent
    elif stream.isatty():
        with _bar(stream) as bar:
            yield TerminalProgress(bar)
    else:
        yield PlainProgress(stream, every=every)


def label(event: Progress) -> str:
    """Return what the run is doing, and with which target if it is one."""
    return _LABELS[event.stage] + (f" on {event.target}" if event.target else "")


def summary(event: Progress) -> str:
    """Return what is known besides the count: best quality, its share of MACs, time left."""
    parts = []
    if event.best_quality is not None:
        parts.append(f"best {quality_text(event.best_quality)}")
    if event.feasible_macs is not None:
        parts.append(f"{share_text(event.feasible_macs, 1.0)} of MACs")
    if event.seconds_left is not None:
        parts.append(f"{duration_text(event.seconds_left)} left")
    return ", ".join(parts)


class PlainProgress:
    """Writes a line when a stage starts or ends, on a note, and else at most now and then."""

    def __init__(
        self, stream: TextIO, *, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._every, self._clock = stream, every, clock
        self._stage: str | None = None
        self._note: str | None = None
        self._next = 0.0

    def __call__(self, event: Progress) -> None:
        """Show one event, or leave it out."""
        new_note = event.note is not None and event.note != self._note
        ends = label(event) != self._stage or event.done >= event.total
        if not (ends or new_note or self._clock() >= self._next):
            return
        self._stage, self._next = label(event), self._clock() + self._every
        known = [f"{self._stage} {event.done}/{event.total}", summary(event)]
        if new_note:
            self._note = event.note
            known.append(str(event.note))
        self._stream.write(", ".join(filter(None, known)) + "\n")
        self._stream.flush()


class TerminalProgress:
    """Keeps one bar that starts again with each stage; notes scroll by above it."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None, known="")
        self._stage: str | None = None
        self._note: str | None = None

    def __call__(self, event: Progress) -> None:
        """Show one event."""
        if event.note is not None and event.note != self._note:
            self._note = event.note
            self._bar.console.print(Text(event.note, style="dim"))
        if label(event) != self._stage:
            self._stage = label(event)
            self._bar.reset(self._task, total=event.total, description=self._stage)
        self._bar.update(self._task, completed=event.done, total=event.total, known=summary(event))


def _bar(stream: TextIO) -> Bar:
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[known]}", markup=False),
        console=Console(file=stream, highlight=False),
        transient=True,
    )
