"""The file in a run's folder that shows that the run goes on, and how far it is."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    """

    at: float
    process: int
    status: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "Heartbeat | None":
        """Return the last one of a run, None if there is none that can be read."""
        try:
            told = json.loads((folder / HEARTBEAT).read_text(encoding="utf-8"))
            return cls(float(told["at"]), int(told["process"]), dict(told.get("status") or {}))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def age(self) -> float:
        """Seconds since then; one from the future is as far off as one from the past.

        A clock that was set back would else let a dead run seem alive until it has caught up.
        """
        return abs(time.time() - self.at)

    def to_json(self) -> str:
        """Return the content of its file."""
        told = {"at": self.at, "process": self.process, "status": dict(self.status)}
        return json.dumps(told) + "\n"
