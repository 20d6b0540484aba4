"""What shows by a file that a process works in a folder, for probes and for those who want in."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autoprune.artifacts.files import write_text
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.errors import AutopruneError

BEAT = 10.0  # seconds from one beat to the next


class Heart:
    """Beats for as long as the block lasts, whatever the process waits for meanwhile.

    Args:
        folder: Where the file is.
        beat: Seconds from one beat to the next.
    """

    def __init__(self, folder: Path, beat: float = BEAT) -> None:
        self._file, self._every = folder / HEARTBEAT, beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.status: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._show()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            self._show()

    def _show(self) -> None:
        told = Heartbeat.now(self.status)
        with suppress(OSError, AutopruneError):  # a full disk must not end the search
            write_text(self._file, told.to_json())
