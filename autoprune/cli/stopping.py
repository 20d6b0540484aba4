"""What ends a command from outside: a deadline, or SIGTERM. Nothing that was finished is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.05  # seconds until what is not to be cut short is looked at again
_LONGEST = 15.0  # seconds for which that is waited for
_IMPORT = "<frozen importlib._bootstrap>"
_DRIVERS = {"sqlalchemy", "psycopg"}


class Stop(BaseException):
    """The command is to end now."""


@contextmanager
def stoppable(deadline: float | None) -> Iterator[None]:
    """Raise `Stop` inside the block at the deadline, or when SIGTERM comes.

    It comes after an import or a statement of a database that goes on, for some seconds at most:
    torch crashes if it is cut short while it sets itself up, and drivers raise what hides it.
    Whatever else leaves the block after it was raised is taken for its consequence.

    Args:
        deadline: Seconds from now, None for none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    stop = _Stopper()
    before = signal.signal(signal.SIGTERM, stop)
    timers = hasattr(signal, "setitimer")
    alarm = signal.signal(signal.SIGALRM, stop) if timers else None
    if timers and deadline is not None:
        signal.setitimer(signal.ITIMER_REAL, max(deadline, 1e-6))
    try:
        yield
    except Exception as err:
        if stop.raised:
            raise Stop(stop.why) from err
        raise
    finally:
        if timers:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, before)


class _Stopper:
    """Handles the first signal that asks for an end."""

    def __init__(self) -> None:
        self.why = ""
        self.raised = False
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.why:
            self.why = "by SIGTERM" if number == signal.SIGTERM else "at the deadline"
            self._since = time.monotonic()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # giving back is not to be cut short
        timers = hasattr(signal, "setitimer")
        wait = timers and _is_delicate(frame) and time.monotonic() - self._since < _LONGEST
        if timers:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN if wait else 0)
        if not wait:
            self.raised = True
            raise Stop(self.why)


def _is_delicate(frame: FrameType | None) -> bool:
    """Tell whether an import goes on, or a statement of a database."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_filename == _IMPORT or package in _DRIVERS:
            return True
        frame = frame.f_back
    return False
