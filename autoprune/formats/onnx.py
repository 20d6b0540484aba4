"""ONNX export, and the outputs of the exported file."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from torch import fx, nn

from autoprune.errors import VerificationError
from autoprune.formats.fold import BatchNorms
from autoprune.formats.program import capture, first_line
from autoprune.formats.session import run_session
from autoprune.formats.steered import add_choices, take_choices
from autoprune.surgery.nested import Inputs, floats_in, tensors_in


class OnnxFile(NamedTuple):
    """What is to be known of a file that was written.

    Args:
        batch_norms: What became of them.
        choices: Names of what it chooses by; see `autoprune.formats.steered`.
        program: The model as it was traced, before batch norms were folded.
    """

    batch_norms: BatchNorms
    choices: tuple[str, ...]
    program: fx.GraphModule


def export_onnx(
    model: nn.Module,
    inputs: Inputs,
    path: Path,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> OnnxFile:
    """Write ``model`` (on the CPU) as one ONNX file whose batch size is free.

    Args:
        model: The model; batch norms are folded in a copy.
        inputs: Positional or keyword arguments of one forward of at least 2 samples.
        path: The file.
        opset: Version of the operators, None for the exporter's own choice.
        metadata: What the file says about itself.

    Raises:
        VerificationError: If the model cannot be exported.
    """
    with _quiet():
        try:
            program = capture(model, inputs)
            count = add_choices(program.exported)
            written = torch.onnx.export(
                program.exported, dynamo=True, opset_version=opset, verbose=False
            )
            assert written is not None
            proto = written.model_proto
            _tidy(proto, metadata or {})
            choices = take_choices(proto, count)
            onnx.checker.check_model(proto)
            onnx.save(proto, path)
        except Exception as err:  # the exporter may raise anything
            raise VerificationError(
                f"The model cannot be exported to ONNX: {first_line(err)}"
            ) from err
    norms = BatchNorms(program.batch_norms.before, nodes_of(proto, "BatchNormalization"))
    return OnnxFile(norms, choices, program.unfolded)


def run_onnx(path: Path, inputs: Inputs) -> list[torch.Tensor]:
    """Return the floating-point outputs of an ONNX file in onnxruntime, on the CPU."""
    return floats_in(run_session(path, list(tensors_in(inputs))))


def opset_of(path: Path) -> int:
    """Return the version of the standard operators that an ONNX file is written in."""
    proto = onnx.load(path, load_external_data=False)
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    return int(versions.get("", versions.get("ai.onnx", 0)))


def nodes_of(proto: Any, kind: str) -> int:
    """Return how many nodes of one operator the main graph of an ONNX model has."""
    return [node.op_type for node in proto.graph.node].count(kind)


def _tidy(proto: Any, metadata: Mapping[str, str]) -> None:
    """Take out what tells where the file was made, and put in what it is."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")
    onnx.helper.set_model_props(proto, dict(metadata))


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
