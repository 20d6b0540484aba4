"""ONNX export, and the outputs of the exported file."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn

from autoprune.errors import VerificationError
from autoprune.surgery.modes import evaluating


def export_onnx(model: nn.Module, inputs: Sequence[torch.Tensor], path: Path) -> None:
    """Write ``model`` (on the CPU) as one ONNX file whose batch size is free.

    Raises:
        VerificationError: If the model cannot be exported.
    """
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
    with _quiet(), evaluating(model):
        try:
            torch.onnx.export(
                model,
                tuple(inputs),
                path,
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
        except Exception as err:  # the exporter may raise anything
            raise VerificationError(
                f"The pruned model cannot be exported to ONNX: {_first_line(err)} The search is "
                "kept: set 'onnx: false' (onnx=False in Python) and resume."
            ) from err


def run_onnx(path: Path, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the floating-point outputs of an ONNX file in onnxruntime, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    found = [torch.from_numpy(array) for array in session.run(None, feed)]
    return [x for x in found if x.is_floating_point()]


def _first_line(err: Exception) -> str:
    lines = str(err).strip().splitlines()
    return f"{type(err).__name__}: {lines[0] if lines else 'no reason given'}."


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about itself from people who did not ask for them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels: list[Any] = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
