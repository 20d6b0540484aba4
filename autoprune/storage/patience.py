"""A database server that is away for a while: connections wait for it, what was cut is redone."""

import functools
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from autoprune.errors import InfrastructureError

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE = 120.0  # seconds that a server may be away
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between two tries to connect, the last one again
_ATTEMPTS = 5
# What PostgreSQL's client says where it is not the user's settings that are wrong.
_AWAY = (
    *("refused", "timeout", "timed out", "starting up", "shutting down", "shut down"),
    *("terminat", "closed", "reset by peer", "broken pipe", "no such file", "unreachable"),
    *("recovery mode", "connection is lost", "the connection is bad", "ssl syscall"),
)


def is_away(err: BaseException | None) -> bool:
    """Tell whether a database server could not be reached, or left in the middle."""
    if isinstance(err, StorageInternalError):
        err = err.__cause__
    if isinstance(err, DBAPIError):
        if err.connection_invalidated:
            return True
        err = err.orig
    text = str(err).lower()
    return type(err).__name__ in _CLIENTS and any(word in text for word in _AWAY)


_CLIENTS = {"OperationalError", "InterfaceError", "AdminShutdown", "ConnectionTimeout"}


class Connect:
    """Connects to a server; after the first time it waits for one that is away.

    One that stayed away for too long is not waited for again until it was met again: what is
    given back on the way out must not take as long each time.

    Args:
        url: Where it is.
        patience: Seconds that it may be away.
    """

    def __init__(self, url: URL, patience: float = PATIENCE) -> None:
        dialect = url.get_dialect()()
        self._connect = dialect.import_dbapi().connect
        self._words, self._settings = dialect.create_connect_args(url)
        self._patience = patience
        self._met = False

    def __call__(self) -> Any:
        """Return a connection, as the driver makes it."""
        begun, tries = time.monotonic(), 0
        while True:
            try:
                found = self._connect(*self._words, **self._settings)
            except Exception as err:
                late = time.monotonic() - begun >= self._patience
                if not self._met or late or not is_away(err):
                    self._met = self._met and not late
                    raise
                time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            else:
                self._met = True
                return found


def patient(call: Callable[P, T]) -> Callable[P, T]:
    """Do it again where the server left in the middle; it must not matter if it was done twice."""

    @functools.wraps(call)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                return call(*args, **kwargs)
            except InfrastructureError as err:
                if not is_away(err.__cause__):
                    raise
            except (StorageInternalError, DBAPIError) as err:
                if not is_away(err):
                    raise
        return call(*args, **kwargs)

    return again
