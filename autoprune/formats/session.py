"""One run of an ONNX model in onnxruntime, on the CPU."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch


def run_session(model: Path | bytes, values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the outputs of an ONNX model.

    Args:
        model: The file, or what is in it.
        values: A value for each of its inputs, in their order.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    feed = {name: x.numpy() for name, x in zip(names, values, strict=True)}
    return [torch.from_numpy(array) for array in session.run(None, feed)]
