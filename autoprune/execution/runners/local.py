"""This machine: which device, how many threads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from autoprune.core.cores import usable_cores
from autoprune.core.workers import Hire, inline
from autoprune.errors import ConfigError
from autoprune.execution.runners.base import Count, Place, SearchRunner


def _device(given: Any) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(given)):
        raise ValueError(f"'device' must be auto, cpu, cuda or cuda:N. Got {given!r}.")
    return str(given)


Device = Annotated[str, BeforeValidator(_device)]


class LocalRunner(SearchRunner):
    """This machine.

    Args:
        kind: ``local``.
        workers: Policies scored at a time, by a process each; 1 does it in this process, ``auto``
            takes as many as there are cores for, or GPUs.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` takes a GPU if there is one.
            With several workers ``cuda`` shares out all GPUs.
        threads: Threads of PyTorch on the CPU, of each worker; ``auto`` shares out the cores, or
            leaves the number to PyTorch where there is one worker.
    """

    kind: Literal["local"] = "local"
    device: Device = "auto"
    threads: Count = "auto"

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
    def applied(self) -> Iterator[Place]:
        """Set PyTorch's threads for a while.

        Raises:
            ConfigError: If the device is not there.
        """
        import torch

        device, before = self.resolve_device(), torch.get_num_threads()
        count = self._count(device)
        if self.threads != "auto" and count == 1:
            torch.set_num_threads(self.threads)
        try:
            yield Place(device, inline if count == 1 else self._hire(count, device))
        finally:
            torch.set_num_threads(before)

    def _count(self, device: str) -> int:
        if self.workers != "auto":
            return self.workers
        if device != "cpu":
            import torch

            return torch.cuda.device_count() if device == "cuda" else 1
        return max(usable_cores() // (1 if self.threads == "auto" else self.threads), 1)

    def _hire(self, count: int, device: str) -> Hire:
        from autoprune.execution.workers.local import local_workers

        shared = max(usable_cores() // count, 1)
        return local_workers(count, device, shared if self.threads == "auto" else self.threads)
