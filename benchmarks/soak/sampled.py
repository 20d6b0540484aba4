"""What processes and a server hold at a moment."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from benchmarks.faults.postgres import Server

_MB = 2**20
_SIZES = text(
    "SELECT (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
    "AND pid <> pg_backend_pid()), pg_database_size(current_database()), "
    "(SELECT SUM(size) FROM pg_ls_waldir())"
)

Held = dict[str, float]


def held(processes: Iterable[int]) -> Held | None:
    """Return what processes hold together; None if all of them are gone.

    ``mb`` is memory that is no file's and nobody else's to give: it does not depend on what a
    copy of a process has written to since, as ``uss_mb`` and ``pss_mb`` do.
    """
    found = [one for process in processes if (one := _held_by(process)) is not None]
    if not found:
        return None
    return {name: round(sum(one[name] for one in found), 2) for name in found[0]}


def _held_by(process: int) -> Held | None:
    try:
        one = psutil.Process(process)
        with one.oneshot():
            memory, opened = one.memory_full_info(), _opened(process)
            return {
                "mb": (memory.rss - memory.shared) / _MB,
                "uss_mb": memory.uss / _MB,
                "pss_mb": memory.pss / _MB,
                "threads": one.num_threads(),
                "sockets": sum(name.startswith("socket:") for name in opened),
                "files": sum(not name.startswith("socket:") for name in opened),
            }
    except (psutil.Error, OSError):
        return None


def _opened(process: int) -> list[str]:
    """Return what a process has open, as the system names it."""
    found = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def family(process: int | None) -> list[int]:
    """Return a process and all that it started; none if there is none."""
    try:
        one = psutil.Process(process) if process is not None else None
        return [one.pid, *(child.pid for child in one.children(recursive=True))] if one else []
    except psutil.Error:
        return []


def stored(server: Server) -> dict[str, Any]:
    """Return connections, and the size of the database and of its log; nothing if it is away."""
    engine = create_engine(server.url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connections, size, log = connection.execute(_SIZES).one()
    except SQLAlchemyError:
        return {}
    return {
        "connections": int(connections),
        "database_mb": round(size / _MB, 3),
        "wal_mb": round(float(log) / _MB, 1),
    }


def entries(folder: Path) -> list[Path]:
    """Return the files and folders below a folder."""
    return list(folder.rglob("*"))
