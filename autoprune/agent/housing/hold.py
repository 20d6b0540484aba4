"""One process at a time in a run's folder, and what a second one is told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autoprune.agent.housing.heart import BEAT
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.errors import AutopruneError, ElsewhereError, InfrastructureError, OutputError

LOCK = "run.lock"
_LOOK = 0.2  # seconds between two looks at who holds the folder
_SILENCE = 3 * BEAT  # seconds without a beat, after which whoever holds it is not at work


@contextmanager
def held(folder: Path, *, resume: bool) -> Iterator[None]:
    """Keep other processes out of a folder until the block ends or this process dies.

    Args:
        folder: The folder; made if it is missing.
        resume: Whether the run is to be gone on with: then a holder that is seen to work does
            what was asked for, and one that is not may end meanwhile.

    Raises:
        ElsewhereError: If another process is seen to work on what is to be resumed.
        InfrastructureError: If the folder is held and nobody is seen to work in it.
        OutputError: If the folder cannot be written, or another process works in it.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _acquire(lock, folder, resume)
    except OSError as err:
        if isinstance(err, AutopruneError):
            raise
        raise OutputError(
            f"The output folder {folder} cannot be written: {err.strerror}. "
            "Choose another with --out (out= in Python)."
        ) from err
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, folder: Path, resume: bool) -> None:
    """Take the lock; where it is held, see whether its holder works.

    On a network volume the lock of a process that died with its machine outlives it for a while.
    Only a beat that comes while we look shows that somebody lives: clocks may differ.
    """
    until, before = time.monotonic() + _SILENCE, Heartbeat.of(folder)
    while True:
        try:
            lock.acquire()
        except Timeout as err:
            busy = f"Another process works in {folder}. "
            if not resume:
                raise OutputError(f"{busy}Wait for it or choose another folder.") from err
            if Heartbeat.of(folder) not in (before, None):
                raise ElsewhereError(f"{busy}This one leaves it to that.") from err
            if time.monotonic() > until:
                raise InfrastructureError(
                    f"{folder} is locked, and for {_SILENCE:g} s nobody was seen to work in it "
                    f"({HEARTBEAT} did not change). The process that holds it hangs, or it is "
                    "dead and its lock on a network volume has not run out yet. The same command "
                    f"goes on as soon as {LOCK} is free."
                ) from err
            time.sleep(_LOOK)
        else:
            return
