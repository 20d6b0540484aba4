"""A pruned model as a file for elsewhere, and how far its outputs are from the model's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import autoprune
from autoprune.artifacts.comparison import gap_of_file
from autoprune.artifacts.example_inputs import Specs, other_batches, specs_of
from autoprune.artifacts.export_formats import (
    Format,
    Written,
    write_onnx,
    write_program,
)
from autoprune.artifacts.files import sha256_of
from autoprune.formats.fold import BatchNorms
from autoprune.surgery.nested import Inputs

TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, and how well it does what the model does.

    Args:
        format: One of `FORMATS`.
        file: The file.
        bytes: Its size.
        sha256: Its sum, 64 hex digits.
        opset: Version of ONNX's operators; None for other formats.
        batch_norms: Their number in the model and in the file; None where none is folded.
        max_diff: Largest difference between outputs of model and file, relative to the largest
            output, over three batch sizes, one of them 1; where rounding may decide what a model
            chooses (boxes for one), with each choice made on the model's own numbers, and of them.
        inputs: Shapes and types the outputs were compared with; None for nested inputs.
    """

    format: Format
    file: Path
    bytes: int
    sha256: str
    opset: int | None
    batch_norms: BatchNorms | None
    max_diff: float
    inputs: Specs | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        specs = self.inputs
        named = specs.items() if isinstance(specs, dict) else enumerate(specs or ())
        plain = {key: spec.model_dump(mode="json") for key, spec in named}
        norms = self.batch_norms
        return vars(self) | {
            "file": str(self.file),
            "batch_norms": norms and norms._asdict(),
            "inputs": plain if isinstance(specs, dict) else list(plain.values()),
        }


def export_model(
    model: nn.Module,
    inputs: Inputs,
    format: Format,
    path: Path,
    *,
    weights_sha256: str,
    opset: int | None = None,
) -> Exported:
    """Write a model (on the CPU) as ONNX or a ``.pt2`` and compare; who calls judges the result.

    Args:
        model: The pruned model; it stays as it is.
        inputs: Arguments of one forward of at least 2 samples; a ``.pt2`` holds their values.
        format: ``onnx`` or ``torch-export``.
        path: The file, with the format's suffix.
        weights_sha256: Sum of the model's weights file; the written file tells it.
        opset: Version of ONNX's operators, None for the exporter's own choice.

    Raises:
        VerificationError: If the model cannot be exported, or the file does not run.
    """
    metadata = {"autoprune.version": autoprune.__version__, "weights.sha256": weights_sha256}
    if format == "onnx":
        written = write_onnx(model, inputs, path, opset, metadata)
    else:
        written = write_program(model, inputs, path, metadata)
    gaps = [gap_of_file(path, written, model, x) for x in other_batches(inputs)]
    return described(format, path, max(gaps), inputs, written)


def described(
    format: Format, path: Path, max_diff: float, inputs: Inputs, written: Written | None = None
) -> Exported:
    """Return what is to be told about a file that was written."""
    return Exported(
        format=format,
        file=path,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        opset=written and written.opset,
        batch_norms=written and written.batch_norms,
        max_diff=max_diff,
        inputs=specs_of(inputs),
    )
