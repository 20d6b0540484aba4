"""Processes that belong to a search, wherever they are, and places apart for them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

LONG = 1200.0  # seconds that anything may take on a machine that others use too
_PROC = Path("/proc")
_LOOK = 0.05


def marked(mark: str) -> set[int]:
    """Return the processes that live and have a text in the environment they began with."""
    return {
        int(found.name)
        for found in _PROC.glob("[0-9]*")
        if mark.encode() in _bytes(found / "environ") and state(int(found.name)) not in "ZX"
    }


def state(process: int) -> str:
    """Return the letter of the state that a process is in, ``X`` if it is gone."""
    return _bytes(_PROC / str(process) / "stat").decode().rpartition(")")[2].strip()[:1] or "X"


def workers(driver: int) -> list[int]:
    """Return the copies of itself that a process has started."""
    command = _bytes(_PROC / str(driver) / "cmdline")
    lists = [_bytes(task).split() for task in (_PROC / str(driver)).glob("task/*/children")]
    children = sorted(int(one) for found in lists for one in found)
    return [one for one in children if command and command == _bytes(_PROC / f"{one}/cmdline")]


def command_of(process: int) -> str:
    """Return the command line of a process."""
    return _bytes(_PROC / str(process) / "cmdline").decode(errors="replace").replace("\0", " ")


def kill(process: int) -> None:
    """Send SIGKILL to a process, which may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def wait_until(true: Callable[[], object], seconds: float = LONG) -> bool:
    """Wait for something to become true; tell whether it did in time."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK)
    return True


@contextmanager
def apart(*spaces: str, setup: str) -> Iterator[tuple[list[str], str]]:
    """Make namespaces; yield what runs a command in them, and where their files are seen.

    Args:
        spaces: Options of ``unshare`` and ``nsenter``: ``-n`` for a network, ``-m`` for mounts.
        setup: What the shell does there first.

    Raises:
        OSError: If this machine does not allow it.
    """
    tried = []
    for user in ((), ("-U",)):
        rights = [*spaces, *(("-r",) if user else ())]
        command = ["unshare", *rights, "sh", "-c", f"{setup} && echo ready && exec cat"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as holder:  # type: ignore[call-overload]
            if holder.stdout.readline() == "ready\n":
                inside = ["--preserve-credentials", "-U"] if user else []
                words = ["nsenter", "-t", str(holder.pid), *inside, *spaces]
                yield words, f"/proc/{holder.pid}/root"
                return  # what holds the namespaces ends as its input is closed
            tried.append(holder.stderr.read().strip())
    raise OSError(f"No namespaces ({' '.join(spaces)}) can be had: {'; '.join(tried)}.")


def elsewhere(name: str) -> Sequence[str]:
    """Return what runs a command as if on another machine: its processes say nothing there."""
    return ["unshare", "-u", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
