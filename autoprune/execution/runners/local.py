"""This machine: which device, how many threads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from autoprune.errors import ConfigError
from autoprune.execution.runners.base import SearchRunner


def _device(given: Any) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(given)):
        raise ValueError(f"'device' must be auto, cpu, cuda or cuda:N. Got {given!r}.")
    return str(given)


def _threads(given: Any) -> int | Literal["auto"]:
    if given == "auto":
        return "auto"
    if type(given) is not int or given < 1:
        raise ValueError(f"'threads' must be auto or a number of at least 1. Got {given!r}.")
    return given


class LocalRunner(SearchRunner):
    """This process.

    Args:
        kind: ``local``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` takes a GPU if there is one.
        threads: Threads of PyTorch on the CPU, or ``auto`` for PyTorch's own number.
    """

    kind: Literal["local"] = "local"
    device: Annotated[str, BeforeValidator(_device)] = "auto"
    threads: Annotated[int | Literal["auto"], BeforeValidator(_threads)] = "auto"

    def resolve_device(self) -> str:
        """Return the device as PyTorch names it: ``cpu``, ``cuda`` or ``cuda:N``.

        Raises:
            ConfigError: If a GPU is asked for that is not there.
        """
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.device == "auto":
            return "cuda" if count else "cpu"
        kind, _, index = self.device.partition(":")
        if kind == "cuda" and int(index or 0) >= count:
            raise ConfigError(
                f"The runner asks for the device {self.device!r}, but PyTorch sees {count} GPUs. "
                "Allowed here: auto, cpu" + "".join(f", cuda:{i}" for i in range(count)) + "."
            )
        return self.device

    @contextmanager
    def applied(self) -> Iterator[str]:
        """Set PyTorch's threads for a while, and yield the device to run on.

        Raises:
            ConfigError: If the device is not there.
        """
        import torch

        device, before = self.resolve_device(), torch.get_num_threads()
        if self.threads != "auto":
            torch.set_num_threads(self.threads)
        try:
            yield device
        finally:
            torch.set_num_threads(before)
