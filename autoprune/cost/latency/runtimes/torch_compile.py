"""Models compiled by ``torch.compile``, on the CPU."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from textwrap import shorten
from types import FunctionType
from typing import Any

from torch import nn

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes.base import RUNTIMES
from autoprune.cost.latency.runtimes.calls_torch import time_torch
from autoprune.cost.latency.runtimes.prepare import prepared
from autoprune.cost.latency.runtimes.pytorch import PYTORCH
from autoprune.cost.latency.runtimes.torch_session import TorchSession, threads_restored
from autoprune.errors import ConfigError, ModelError
from autoprune.surgery.nested import Inputs

_COMPILERS = {"win32": "cl", "darwin": "clang++"}
_NO_LIMIT = {"recompile_limit": 2**30, "accumulated_recompile_limit": 2**30}
_numbers = count()


class TorchCompile:
    """Compiles the model for exactly the sizes it is given."""

    def check(self, target: Target) -> None:
        """Make sure that there is a C++ compiler.

        Raises:
            ConfigError: If not.
        """
        compiler = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
        if shutil.which(compiler.split()[0]) is None:
            raise ConfigError(
                f"The target {str(target)!r} needs a C++ compiler, but there is no {compiler!r}. "
                "Install one (on Debian and Ubuntu 'apt install g++') or name yours in the "
                "environment variable CXX, or choose another target: pytorch, onnxruntime."
            )

    def facts(self, target: Target) -> Mapping[str, str]:
        """Return what eager PyTorch depends on: its compiler goes with its version."""
        return PYTORCH.facts(target)

    def time_call(self, call: Call, target: Target) -> Timing | None:
        """Return the time of one op alone: what multiplies runs the kernels of eager PyTorch."""
        return time_torch(call, target)

    @contextmanager
    def open(self, model: nn.Module, inputs: Inputs, target: Target) -> Iterator[TorchSession]:
        """Compile a copy of ``model``, which takes seconds to minutes.

        Raises:
            ModelError: If it cannot be compiled, or nothing of it was.
        """
        import torch._dynamo  # takes a second

        twin, batch = prepared(model, inputs, target)
        graphs: list[object] = []

        def backend(graph: Any, examples: Any) -> Any:
            graphs.append(graph)
            return inductor(graph, examples)

        inductor: Any = torch._dynamo.lookup_backend("inductor")
        forward = torch.compile(_apart(twin), backend=backend, dynamic=False)
        session = TorchSession(forward, batch, target.cores)
        with threads_restored():
            with torch._dynamo.config.patch(_NO_LIMIT):
                _compile(session, target)
            if not graphs:
                raise ModelError(
                    f"The target {str(target)!r} cannot be measured: torch.compile found nothing "
                    "in the model to compile, and would run it op by op. Use the target 'pytorch'."
                )
            yield session


def _compile(session: TorchSession, target: Target) -> None:
    try:
        for _ in range(2):  # the second forward may compile what the first one prepared
            session.run()
    except Exception as err:  # compilers and the user's forward may raise anything
        raise ModelError(
            f"The model cannot be measured with the target {str(target)!r}: torch.compile raised "
            f"{type(err).__name__}: {shorten(str(err), 300)} Check that the model compiles, or "
            "choose another target: pytorch, onnxruntime."
        ) from err


def _apart(model: nn.Module) -> Callable[..., Any]:
    """Return a callable that runs ``model`` and that the compiler shares with no other model.

    It keeps what it compiled with the code of a function, so models of one class would share a
    place: each forward would first try the others' conditions, and after eight models PyTorch
    would run all further ones uncompiled, without an error.
    """

    def forward(*args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    code = forward.__code__.replace(co_name=f"forward_{next(_numbers)}")
    return FunctionType(code, forward.__globals__, code.co_name, None, forward.__closure__)


TORCH_COMPILE = RUNTIMES.add("torch-compile", TorchCompile())
