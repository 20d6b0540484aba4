"""Show how a run goes on: a bar in a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from autoprune.core.progress import Progress, ProgressCallback, silent
from autoprune.core.terminal_text import harmless
from autoprune.reporting.progress_text import ended_text, label, state_text, summary
from autoprune.reporting.tables import PlainConsole


@contextmanager
def progress_for(
    stream: TextIO | None = None,
    *,
    quiet: bool = False,
    verbose: bool = False,
    every: float = 10.0,
) -> Iterator[ProgressCallback]:
    """Yield a callback that shows each `Progress` on ``stream`` (standard error if not given).

    Args:
        stream: A terminal gets a bar, anything else plain lines.
        quiet: Show nothing.
        verbose: Show each evaluation that ended.
        every: Seconds between two plain lines of one stage at least.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        yield silent
    elif stream.isatty():
        with _bar(stream) as bar:
            yield TerminalProgress(bar, verbose=verbose)
    else:
        yield PlainProgress(stream, every=every, verbose=verbose)


class PlainProgress:
    """Writes a line when a stage starts or ends, on a note, and else at most now and then."""

    def __init__(
        self,
        stream: TextIO,
        *,
        every: float,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._every, self._clock = stream, every, clock
        self._verbose = verbose
        self._stage: str | None = None
        self._note: str | None = None
        self._next = 0.0

    def __call__(self, event: Progress) -> None:
        """Show one event, or leave it out."""
        for one in event.ended if self._verbose else ():
            self._write(ended_text(one, event.is_share))
        new_note = event.note is not None and event.note != self._note
        ends = label(event) != self._stage or event.done >= event.total
        if not (ends or new_note or self._clock() >= self._next):
            return
        self._stage, self._next = label(event), self._clock() + self._every
        known = [f"{self._stage} {event.done}/{event.total}", summary(event), state_text(event)]
        if new_note:
            self._note = event.note
            known.append(str(event.note))
        self._write(", ".join(filter(None, known)))

    def _write(self, line: str) -> None:
        self._stream.write(f"{harmless(line)}\n")
        self._stream.flush()


class TerminalProgress:
    """Keeps one bar that starts again with each stage; notes scroll by above it."""

    def __init__(self, bar: "_Bar", *, verbose: bool = False) -> None:
        self._bar, self._verbose = bar, verbose
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
        for one in event.ended if self._verbose else ():
            self._bar.console.print(Text(ended_text(one, event.is_share)))
        self._bar.below = state_text(event)
        self._bar.update(self._task, completed=event.done, total=event.total, known=summary(event))


class _Bar(Bar):
    """A bar with a line below it."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bar, and the line if there is one."""
        yield from super().get_renderables()
        if self.below:
            yield Text(f"  {self.below}", style="dim")


def _bar(stream: TextIO) -> _Bar:
    return _Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[known]}", markup=False),
        console=PlainConsole(stream),
        transient=True,
    )
