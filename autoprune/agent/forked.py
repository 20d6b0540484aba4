"""Share work among processes that start as copies of this one, with all it has in memory."""

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from autoprune.errors import InputError

S = TypeVar("S")
T = TypeVar("T")


def can_fork(device: str) -> bool:
    """Tell whether work on a device can be shared so: CUDA and macOS do not survive a fork."""
    forks = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
    return forks and device == "cpu" and not torch.cuda.is_initialized()


def shared_out(
    shares: Sequence[S],
    job: Callable[[S], Iterable[T]],
    lost: Callable[[int, str], object] = lambda worker, why: None,
) -> Iterator[T]:
    """Yield what ``job`` gives for each share, as it comes; each runs in a process of its own.

    The processes compute with one thread each: those of OpenMP do not survive a fork, and PyTorch
    starts none for one thread (its own data loaders go by that).

    Args:
        shares: What each process is to do.
        job: Does it; nothing is copied to the process, what it yields is pickled.
        lost: Told number and reason where a process ended before it was done; what it had still
            to do is missing then.

    Raises:
        InputError: If ``job`` raised it.
    """
    context = multiprocessing.get_context("fork")  # type: ignore[attr-defined,unused-ignore]
    pipes: dict[Connection, tuple[int, Any]] = {}
    try:
        for number, share in enumerate(shares):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(theirs, job, share), daemon=True)
            with warnings.catch_warnings():  # a thread that draws a progress bar does no harm
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            pipes[ours] = (number, process)
        while pipes:
            for ready in wait(list(pipes)):
                assert isinstance(ready, Connection)
                yield from _received(ready, pipes, lost)
    finally:
        for _, process in pipes.values():
            process.terminate()
            process.join()


def _received(
    ready: Connection, pipes: dict[Connection, tuple[int, Any]], lost: Callable[[int, str], object]
) -> Iterator[Any]:
    number, process = pipes[ready]
    try:
        kind, content = ready.recv()
    except EOFError:
        del pipes[ready]
        process.join()
        lost(number, f"worker {number + 1} ended with exit code {process.exitcode}")
        return
    if kind == "item":
        yield content
        return
    del pipes[ready]
    process.join()
    if kind == "raised":
        raise content
    if kind == "broke":
        lost(number, f"worker {number + 1} failed: {content}")


def _work(pipe: Connection, job: Callable[[Any], Iterable[Any]], share: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the one that started this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        for item in job(share):
            pipe.send(("item", item))
        pipe.send(("done", None))
    except InputError as err:
        pipe.send(("raised", err))
    except Exception as err:  # told, and made good, in the process that started this one
        pipe.send(("broke", f"{type(err).__name__}: {err}"))
    finally:
        pipe.close()
