"""What a runtime is, and the registry of them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import nn

from autoprune.core.cores import usable_cores
from autoprune.core.registry import Registry
from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.errors import ConfigError
from autoprune.surgery.nested import Inputs

PLUG_INS = "autoprune.runtimes"


class Session(Protocol):
    """A model that is loaded and ready, with inputs of its own."""

    def run(self) -> None:
        """Do one forward, and come back when its outputs are there."""
        ...

    def outputs(self) -> list[torch.Tensor]:
        """Return the floating-point outputs of one forward, on the CPU, in single precision."""
        ...


class Runtime(Protocol):
    """Runs models in one way, such as eager PyTorch or onnxruntime.

    Other packages add one by an entry point of the group ``autoprune.runtimes`` whose name is the
    runtime's and which leads to an object of this form; `autoprune.testing.runtimes` tests it.
    """

    def check(self, target: Target) -> None:
        """Make sure that ``target`` can be measured here.

        Raises:
            ConfigError: If something is not installed or not there, or an option of the target
                is not supported; the message says what to do.
        """
        ...

    def facts(self, target: Target) -> Mapping[str, str]:
        """Return what of the software and the hardware its latencies depend on, by name.

        That is versions, and what is beside the CPU; it is asked only for a target that passed
        `check`. Nothing that names the machine or its user.
        """
        ...

    def time_call(self, call: Call, target: Target) -> Timing | None:
        """Return the time of one op alone, or None if it cannot be run alone.

        What cannot is estimated from whole models, by its multiply-adds.
        """
        ...

    def open(
        self, model: nn.Module, inputs: Inputs, target: Target
    ) -> AbstractContextManager[Session]:
        """Load a copy of ``model``, in eval mode, to be run on ``target.batch`` samples.

        Settings of the process that it needs hold until the session is closed. The model and the
        random numbers of the process stay as they are.

        Args:
            model: A model on the CPU.
            inputs: Tensors on the CPU, the arguments of one forward of any number of samples;
                they are repeated or cut to the batch of the target.
            target: A target that passed `check`.

        Raises:
            ModelError: If the model cannot be run in this way.
        """
        ...


RUNTIMES: Registry[Runtime] = Registry(
    "runtime", group=PLUG_INS, form=("check", "facts", "time_call", "open")
)


def find_runtime(target: Target) -> Runtime:
    """Return the runtime of a target that can be measured here.

    Raises:
        ConfigError: If there is no such runtime, or it cannot run the target here.
    """
    runtime = RUNTIMES.get(target.runtime)
    runtime.check(target)
    return runtime


def check_measurable(target: Target) -> None:
    """Make sure, before anything that takes long, that a target can be measured here and now.

    Raises:
        ConfigError: If there is no such runtime, it cannot run the target here, or the target
            asks for more threads than there are cores: they would wait for each other.
    """
    find_runtime(target)
    cores = usable_cores()
    if target.cores > cores:
        raise ConfigError(
            f"The target {str(target)!r} asks for {target.threads} threads, but this process may "
            f"use {cores} core{'s' * (cores > 1)}. Give /threads={cores} or fewer, leave it out "
            "for every core, or measure on the device that has as many."
        )
