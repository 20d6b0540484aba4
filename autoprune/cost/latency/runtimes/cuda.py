"""Eager PyTorch on an NVIDIA GPU."""

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
from autoprune.errors import ConfigError, ModelError
from autoprune.surgery.nested import Inputs


class Cuda:
    """Runs the model on the current device; inputs lie there already, outputs stay there.

    A forward is timed from its first launch until the device is idle again. Settings of cuDNN and
    of matrix products are left as they are found, and are among the facts.
    """

    def check(self, target: Target) -> None:
        """Make sure that there is a device, and that it has the type.

        Raises:
            ConfigError: If not.
        """
        if not torch.cuda.is_available():
            built = torch.version.cuda
            reason = "sees no GPU" if built else "was built without CUDA"
            raise ConfigError(
                f"The target {str(target)!r} needs an NVIDIA GPU, but PyTorch {torch.__version__} "
                f"{reason}. Run on a machine that has one, or choose another target: pytorch, "
                "torch-compile, onnxruntime."
            )
        if target.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(False):
            raise ConfigError(
                f"The target {str(target)!r} needs bfloat16, which "
                f"{torch.cuda.get_device_name()} does not have. Use float16 or float32."
            )

    def facts(self, target: Target) -> Mapping[str, str]:
        """Return the GPU, versions, and the settings that choose kernels."""
        major, minor = torch.cuda.get_device_capability()
        return {
            "gpu": torch.cuda.get_device_name(),
            "gpu_capability": f"{major}.{minor}",
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
            "cudnn_tf32": str(torch.backends.cudnn.allow_tf32),
            "matmul_precision": torch.get_float32_matmul_precision(),
        }

    def time_call(self, call: Call, target: Target) -> Timing | None:
        """Return the time of one op alone; None if it cannot be run alone."""
        device = torch.device("cuda", torch.cuda.current_device())
        return time_torch(call, target, device, lambda: torch.cuda.synchronize(device))

    @contextmanager
    def open(self, model: nn.Module, inputs: Inputs, target: Target) -> Iterator[TorchSession]:
        """Load a copy of ``model`` onto the current device.

        Raises:
            ModelError: If its forward raises, for want of memory among others.
        """
        device = torch.device("cuda", torch.cuda.current_device())
        try:
            placed = prepared(model, inputs, target, device)
        except torch.OutOfMemoryError as err:
            raise ModelError(
                f"The model does not fit onto {torch.cuda.get_device_name()} beside what is there "
                "already. Free memory on it, or give the target a smaller batch."
            ) from err
        session = TorchSession(*placed, target.cores, lambda: torch.cuda.synchronize(device))
        with threads_restored(), torch.cuda.device(device):
            session.first_run()
            yield session


CUDA = RUNTIMES.add("cuda", Cuda())
