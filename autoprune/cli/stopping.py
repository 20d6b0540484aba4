"""What ends a command from outside: a deadline, or SIGTERM. Nothing that was finished is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop(BaseException):
    """The command is to end now."""


@contextmanager
def stoppable(deadline: float | None) -> Iterator[None]:
    """Raise `Stop` inside the block at the deadline, or when SIGTERM comes.

    Args:
        deadline: Seconds from now, None for none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # giving back is not to be cut short
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise Stop("by SIGTERM" if number == signal.SIGTERM else "at the deadline")

    before = signal.signal(signal.SIGTERM, stop)
    alarm = None
    if deadline is not None and hasattr(signal, "setitimer"):
        alarm = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(deadline, 1e-6))
    try:
        yield
    finally:
        if alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, before)
