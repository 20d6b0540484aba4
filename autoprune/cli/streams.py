"""Standard output is for data: whatever else is printed meanwhile goes to standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import typer

from autoprune.core.terminal_text import encodable, harmless


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what anyone prints to standard output to standard error until this ends.

    The file descriptor is turned, not just `sys.stdout`, so libraries in C and child processes
    (data loaders, tools the user's code starts) follow as well.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 1)
        os.close(kept)


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text, what steers a terminal in it spelled out: names come from files of others.

    Data that another program reads on standard output stay as they are.
    """
    shown = err or sys.stdout.isatty()
    typer.echo(harmless(str(text)) if shown else encodable(str(text)), err=err, nl=nl)
