"""What ends a command from outside: a deadline, or SIGTERM. Nothing that was finished is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.05  # seconds until an import that goes on is looked at again
_LONGEST = 15.0  # seconds for which imports are waited for
_IMPORT = "<frozen importlib._bootstrap>"


class Stop(BaseException):
    """The command is to end now."""


@contextmanager
def stoppable(deadline: float | None) -> Iterator[None]:
    """Raise `Stop` inside the block at the deadline, or when SIGTERM comes.

    It comes after an import that goes on, for some seconds at most: torch crashes if it is cut
    short while it sets itself up.

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
    finally:
        if timers:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, before)


class _Stopper:
    """Handles the first signal that asks for an end."""

    def __init__(self) -> None:
        self._why = ""
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._why:
            self._why = "by SIGTERM" if number == signal.SIGTERM else "at the deadline"
            self._since = time.monotonic()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # giving back is not to be cut short
        timers = hasattr(signal, "setitimer")
        wait = timers and _imports(frame) and time.monotonic() - self._since < _LONGEST
        if timers:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN if wait else 0)
        if not wait:
            raise Stop(self._why)


def _imports(frame: FrameType | None) -> bool:
    """Tell whether code runs that an import statement began."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
