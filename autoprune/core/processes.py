"""Processes, told apart across machines, their restarts, and numbers that are given again."""

import os
import socket
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def this_host() -> str:
    """Return what tells apart machines, their starts, and namespaces of process numbers."""
    found = [socket.gethostname()]
    with suppress(OSError):
        found.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
        found.append(os.readlink(_PROC / "self/ns/pid"))
    return " ".join(found)


def process_of(number: int) -> str:
    """Return what tells a process of this host apart: its number is given again to later ones.

    Returns:
        The number and when it began, which is left out where that is hidden from us; empty if no
        process of that number runs.
    """
    try:
        stat = (_PROC / str(number) / "stat").read_text()
    except OSError:  # there may be no such folder, or it hides what others run
        return f"{number}@" if _runs(number) else ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state == "Z" else f"{number}@{rest[18]}"  # when it began


def this_process() -> str:
    """Return what tells this process apart; see `process_of`."""
    return process_of(os.getpid())


def runs_here(host: str, process: str) -> bool | None:
    """Tell whether a process still runs; None where that cannot be told from here.

    Args:
        host: What `this_host` was there; empty if that is not known.
        process: What `process_of` was.
    """
    number = process.partition("@")[0]
    if host != this_host() or not number.isdecimal():
        return None
    found = process_of(int(number))
    return None if found == f"{number}@" != process else found == process


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
