"""The file in a run's folder that shows that the run goes on, and how far it is."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from autoprune.core.json_text import read_json
from autoprune.core.processes import runs_here, this_host, this_process

HEARTBEAT = "heartbeat.json"


def progress_text(status: Mapping[str, Any]) -> str:
    """Return what a run told of its progress, for people."""
    if not status.keys() >= {"stage", "done", "total"}:
        return "begins"
    return f"{status['stage']} {status['done']} of {status['total']}"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life.

    Args:
        at: When it was given, in seconds since 1970 by the clock of whoever gave it.
        process: Number of the process that gave it.
        status: What it told of its progress, plain JSON types.
        host: What tells apart the machine of that process; empty if that is not known.
        identity: What tells the process apart there; empty if that is not known.
    """

    at: float
    process: int
    status: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    identity: str = ""

    @classmethod
    def now(cls, status: Mapping[str, Any]) -> Self:
        """Return a sign of life of this process."""
        return cls(time.time(), os.getpid(), status, this_host(), this_process())

    @classmethod
    def of(cls, folder: Path) -> "Heartbeat | None":
        """Return the last one of a run, None if there is none that can be read."""
        try:
            told = read_json(folder / HEARTBEAT)
            at, process = float(told["at"]), int(told["process"])
            who = str(told.get("host") or ""), str(told.get("identity") or "")
            return cls(at, process, dict(told.get("status") or {}), *who)
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None

    @property
    def age(self) -> float:
        """Seconds since then; one from the future is as far off as one from the past.

        A clock that was set back would else let a dead run seem alive until it has caught up.
        """
        return abs(time.time() - self.at)

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to run no more: one of this machine that is not there."""
        return runs_here(self.host, self.identity) is False

    def to_json(self) -> str:
        """Return the content of its file."""
        return json.dumps({**asdict(self), "status": dict(self.status)}) + "\n"
