"""One worker process: it gets jobs through a pipe and gives their results back."""

import gc
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from autoprune.errors import AutopruneError

_LOOKS = 1.0  # seconds between two looks at whether the parent is alive
_ORPHANED = 75  # exit code of a worker whose parent is gone


class WorkError(AutopruneError, RuntimeError):
    """The work raised something that nobody raised on purpose; its traceback is the message."""


def serve(pipe: Connection, work: Callable[[Any], Any], parent: int, threads: int) -> None:
    """Do jobs until the pipe is closed or the parent is gone; then the process ends at once.

    Args:
        pipe: Gives numbers and jobs, takes numbers, results and what was raised.
        work: Does a job.
        parent: Process id of who started this one.
        threads: CPU threads of PyTorch.
    """
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the one that started this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # what was copied stays as it is: a connection that is freed ends the parent's
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        while True:
            ticket, job = pipe.recv()
            pipe.send((ticket, *outcome(work, job)))
    except (EOFError, OSError):
        os._exit(0)  # what was copied from the parent is the parent's to close


def outcome(work: Callable[[Any], Any], job: Any) -> tuple[Any, BaseException | None]:
    """Return what the work gave, and what it raised."""
    try:
        return work(job), None
    except AutopruneError as err:
        return None, err
    except Exception as err:
        return None, WorkError("".join(traceback.format_exception(err)))


def _end_with(parent: int) -> None:
    """End this process once its parent is gone: nobody waits for its results."""
    while os.getppid() == parent:
        time.sleep(_LOOKS)
    os._exit(_ORPHANED)
