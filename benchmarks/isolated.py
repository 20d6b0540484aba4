"""Run one job in a process of its own, with a time limit, so that no failure stops the others."""

import multiprocessing
import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from multiprocessing.connection import Connection, wait
from textwrap import shorten
from typing import Any, Protocol

Facts = dict[str, Any]
START = 300.0  # seconds until a process must have imported what it needs
_TIDIES = 60.0  # seconds that a job has to end what it began, once the benchmark is gone
SLACK = 10  # times the limit that may pass on the clock
_CONTEXT = multiprocessing.get_context("forkserver")


class Note(Protocol):
    """Tells the watching process facts (plain JSON types) as soon as they are known."""

    def __call__(self, **facts: object) -> None:
        """Send ``facts``; later ones replace earlier ones of the same name."""


Job = Callable[..., None]


def prepare(modules: Iterable[str]) -> None:
    """Import ``modules`` once for all processes to come, before the first of them starts.

    Each then starts in milliseconds, and code that is edited meanwhile does not reach it.
    """
    _CONTEXT.set_forkserver_preload(sorted(modules))


def run_isolated(job: Job, arguments: Mapping[str, Any], limit: float) -> Facts:
    """Call ``job(note, **arguments)`` in a fresh process on one thread.

    Args:
        job: A function of a module; it gives its results by calling ``note``.
        arguments: Its other arguments; they must pickle.
        limit: Seconds of processor time between two notes, so that a busy machine is not held
            against a job. A job notes a ``stage`` before each long step.

    Returns:
        Everything noted, with ``seconds`` and, if the job did not end well, ``failure``: its
        cause. What was noted before a failure is kept.
    """
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child, args=(sender, job, dict(arguments), limit))
    started = time.monotonic()
    process.start()
    sender.close()
    facts = _gathered(receiver, limit)
    if "overtime" in facts:
        process.kill()
    process.join()
    if process.exitcode and "failure" not in facts:
        facts["failure"] = _cause(process.exitcode, "overtime" in facts, limit)
    return facts | {"seconds": round(time.monotonic() - started, 2)}


def _gathered(receiver: Connection, limit: float) -> Facts:
    facts: Facts = {}
    patience = START
    try:
        while receiver.poll(patience):
            facts |= receiver.recv()
            patience = SLACK * limit
        facts["overtime"] = True
    except EOFError:  # the child closed its end
        pass
    return facts


def _cause(exit_code: int, overtime: bool, limit: float) -> str:
    if overtime or exit_code == -signal.SIGXCPU:
        return f"took longer than {limit:g} s"
    return f"died with exit code {exit_code}" + (" (out of memory?)" if exit_code == -9 else "")


def _child(sender: Connection, job: Job, arguments: dict[str, Any], limit: float) -> None:
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _silence()

    def note(**facts: object) -> None:
        _allow(limit)
        sender.send(facts)

    note()  # from now on the limit holds
    try:
        job(note, **arguments)
    except Exception as err:  # whatever a job raises is its result
        note(failure=first_line(err), where=_where(err))
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        note(peak_mb=round(peak / 1024))


def _allow(seconds: float) -> None:
    """Have the system end this process after so many more seconds of processor time."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time() + seconds), hard))


def _end_with_parent() -> None:
    """Wait for the benchmark to die, however it does, and die with it; the job may tidy up."""
    parent, job = multiprocessing.parent_process(), threading.main_thread().ident
    if parent is not None and job is not None:
        wait([parent.sentinel])
        signal.pthread_kill(job, signal.SIGTERM)
        time.sleep(_TIDIES)
        os._exit(1)


def _silence() -> None:
    """Send what libraries print to nowhere: the benchmark's own last line must be JSON."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def first_line(err: BaseException) -> str:
    """Return the kind of an error and the start of what it says, on one line."""
    return shorten(f"{type(err).__name__}: {err}", 300)


def _where(err: BaseException) -> str:
    """Return the module, function and line that raised; no folder of this machine."""
    *_, (frame, line) = traceback.walk_tb(err.__traceback__)
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}, line {line}"
