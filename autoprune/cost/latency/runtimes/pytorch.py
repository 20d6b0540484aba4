"""Eager PyTorch on the CPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes.base import RUNTIMES
from autoprune.cost.latency.runtimes.calls_torch import time_torch
from autoprune.cost.latency.runtimes.prepare import prepared
from autoprune.cost.latency.runtimes.torch_session import TorchSession, threads_restored
from autoprune.surgery.nested import Inputs


class PyTorch:
    """Runs the model as it is, op by op."""

    def check(self, target: Target) -> None:
        """Accept every target: PyTorch is here, and has all types on the CPU."""

    def facts(self, target: Target) -> Mapping[str, str]:
        """Return PyTorch's version, and the instructions its kernels are limited to."""
        return {
            "torch": torch.__version__,
            "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        }

    def time_call(self, call: Call, target: Target) -> Timing | None:
        """Return the time of one op alone; None if it cannot be run alone."""
        return time_torch(call, target)

    @contextmanager
    def open(self, model: nn.Module, inputs: Inputs, target: Target) -> Iterator[TorchSession]:
        """Load a copy of ``model``.

        Raises:
            ModelError: If its forward raises.
        """
        session = TorchSession(*prepared(model, inputs, target), target.cores)
        with threads_restored():
            session.first_run()
            yield session


PYTORCH = RUNTIMES.add("pytorch", PyTorch())
