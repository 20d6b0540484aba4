"""The formats a pruned model is exported in: how a file is written, and how it is run again."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import fx, nn

from autoprune.errors import ConfigError, VerificationError
from autoprune.formats.choices import Run, run_program
from autoprune.formats.fold import BatchNorms
from autoprune.formats.onnx import export_onnx, opset_of
from autoprune.formats.program import capture, first_line
from autoprune.formats.session import run_session
from autoprune.formats.steered import run_steered
from autoprune.surgery.nested import Inputs, call, tensors_in

Format = Literal["onnx", "torch-export", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
FILES: Mapping[Format, str] = {
    "onnx": "model.onnx",
    "torch-export": "model.pt2",
    "safetensors": "weights.safetensors",
}


class Written(NamedTuple):
    """What the writer of a file tells about it.

    Args:
        opset: Version of ONNX's operators; None for other formats.
        batch_norms: What became of them.
        program: The model as it was traced.
        steered: Runs the file, given inputs and what to choose by (`formats.choices`).
    """

    opset: int | None
    batch_norms: BatchNorms
    program: fx.GraphModule
    steered: Callable[[Inputs, Sequence[torch.Tensor]], Run]


def write_onnx(
    model: nn.Module, inputs: Inputs, path: Path, opset: int | None, metadata: Mapping[str, str]
) -> Written:
    """Write an ONNX file.

    Raises:
        VerificationError: If the model cannot be exported.
        ConfigError: If it cannot be with these operators.
    """
    file = export_onnx(model, inputs, path, opset, metadata)
    found = opset_of(path)
    if opset not in (None, found):
        raise ConfigError(
            f"This model cannot be written with --opset {opset}: the exporter kept {found}. "
            f"Allowed is {found}, or another one that has all of its operators; or leave it out."
        )
    steered = partial(run_steered, path, file.choices)
    return Written(found, file.batch_norms, file.program, steered)


def write_program(
    model: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str]
) -> Written:
    """Write a ``.pt2`` file, what it says about itself in its extra file ``autoprune.json``.

    Raises:
        VerificationError: If the model cannot be exported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes about itself
        try:
            program = capture(model, inputs)
            extra = {"autoprune.json": json.dumps(dict(metadata))}
            torch.export.save(program.exported, path, extra_files=extra)
        except Exception as err:  # the exporter may raise anything
            raise VerificationError(
                f"The model cannot be exported with torch.export: {first_line(err)}"
            ) from err
    steered = partial(_run_steered, path)
    return Written(None, program.batch_norms, program.unfolded, steered)


def run_file(path: Path, inputs: Inputs) -> list[torch.Tensor]:
    """Return the outputs of an ONNX or a ``.pt2`` file, on the CPU.

    Raises:
        VerificationError: If its runtime cannot load or run it.
    """
    try:
        if path.suffix == ".onnx":
            return run_session(path, list(tensors_in(inputs)))
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return list(tensors_in(call(torch.export.load(path).module(), inputs)))
    except Exception as err:  # runtimes have their own errors
        raise VerificationError(
            f"The exported {path.name} does not run: {type(err).__name__}: {err}"
        ) from err


def _run_steered(path: Path, inputs: Inputs, given: Sequence[torch.Tensor]) -> Run:
    return run_program(torch.export.load(path).module(), inputs, given)
