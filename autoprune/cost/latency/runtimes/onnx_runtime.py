"""onnxruntime on the CPU, on the file that a result is exported to."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes.base import RUNTIMES
from autoprune.cost.latency.runtimes.calls_onnx import time_onnx
from autoprune.cost.latency.runtimes.onnx_session import OnnxSession, session_options
from autoprune.cost.latency.runtimes.prepare import batched, prepared
from autoprune.errors import ConfigError, ModelError
from autoprune.surgery.nested import Inputs, listed

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class OnnxRuntime:
    """Exports the model like a result, and runs the file as onnxruntime optimises it."""

    def check(self, target: Target) -> None:
        """Make sure that onnxruntime is here and has kernels for the target.

        Raises:
            ConfigError: If not.
        """
        if find_spec("onnxruntime") is None:
            raise ConfigError(
                f"The target {str(target)!r} needs onnxruntime, which is not installed. "
                "Run 'pip install onnxruntime'."
            )
        if target.dtype != "float32":
            raise ConfigError(
                f"The target {str(target)!r} asks for {target.dtype}, but onnxruntime computes in "
                "float32 on the CPU and would only convert back and forth. Leave 'dtype' out."
            )
        if target.channels_last:
            raise ConfigError(
                f"The target {str(target)!r} asks for channels_last, but onnxruntime chooses the "
                "layout itself. Leave it out."
            )

    def facts(self, target: Target) -> Mapping[str, str]:
        """Return the versions of what runs the file, and of what wrote it."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}

    def time_call(self, call: Call, target: Target) -> Timing | None:
        """Return the time of one op alone; None if onnxruntime has none like it."""
        return time_onnx(call, target)

    @contextmanager
    def open(self, model: nn.Module, inputs: Inputs, target: Target) -> Iterator[OnnxSession]:
        """Export a copy of ``model`` and load the file.

        Raises:
            ModelError: If it cannot be exported, or onnxruntime cannot run the file.
        """
        if listed(inputs) and target.batch > 1:
            raise ModelError(
                f"The target {str(target)!r} asks for {target.batch} samples, but the ONNX file "
                "of a model that takes a list of images takes one. Leave 'batch' out, or choose "
                "pytorch."
            )
        twin, batch = prepared(model, inputs, target)
        # The batch size is free in the file, and the exporter takes a size of 1 for a constant.
        examples = batched(batch, max(2, target.batch))
        with TemporaryDirectory(prefix="autoprune-") as folder:
            try:
                session = OnnxSession(_load(twin, examples, Path(folder), target.cores), batch)
                session.run()
            except ModelError:
                raise
            except Exception as err:  # exporter and runtime may raise anything
                raise _unusable(err, target) from err
        yield session


def _load(model: nn.Module, examples: Any, folder: Path, threads: int) -> Any:
    import onnxruntime

    from autoprune.formats.onnx import export_onnx

    path = folder / "model.onnx"
    export_onnx(model, examples, path)
    return onnxruntime.InferenceSession(
        path, session_options(threads), providers=["CPUExecutionProvider"]
    )


def _unusable(err: BaseException, target: Target) -> ModelError:
    while err.__cause__ is not None:  # the exporter wraps what happened in advice of its own
        err = err.__cause__
    reason = shorten(_COLOUR.sub("", str(err)), 300)
    return ModelError(
        f"The model cannot be measured with the target {str(target)!r}: exporting or running it "
        f"raised {type(err).__name__}: {reason} Choose another target (pytorch, torch-compile), "
        "or change the model so that torch.onnx.export takes it."
    )


ONNX_RUNTIME = RUNTIMES.add("onnxruntime", OnnxRuntime())
