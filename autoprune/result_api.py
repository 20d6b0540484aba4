"""The public functions about what a finished search wrote: load its model, or export it."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from autoprune.agent.results.finished import record_onnx
from autoprune.artifacts.architecture import load as load_folder
from autoprune.artifacts.export import Exported
from autoprune.artifacts.export_folder import export_folder
from autoprune.artifacts.export_formats import Format
from autoprune.artifacts.export_target import IfFileExists
from autoprune.surgery.nested import Inputs


def load(
    folder: str | Path, model: nn.Module | Callable[[], nn.Module] | str | None = None
) -> nn.Module:
    """Return the pruned model of a result folder, in eval mode, on the CPU.

    Args:
        folder: What a finished search wrote.
        model: The dense model or what builds it, weights being irrelevant; an import string such
            as ``"model.py:build"`` starts at the current folder. None calls the constructor the
            run recorded: load only folders whose code you trust.

    Raises:
        ArtifactError: If the folder is incomplete or altered, or the dense model does not fit.
        ModelError: If an import string leads to nothing that builds a model.
    """
    return load_folder(folder, model)


def export(
    folder: str | Path,
    format: Format,
    *,
    out: str | Path | None = None,
    model: nn.Module | Callable[[], nn.Module] | str | None = None,
    inputs: Inputs | None = None,
    opset: int | None = None,
    if_exists: IfFileExists = "fail",
) -> Exported:
    """Write the pruned model of a result folder for other runtimes, compared with the model.

    ``onnx`` and ``torch-export`` take any batch size, other sizes are those of ``inputs``; batch
    norms are folded into the layer before them. ``safetensors`` is a copy of what `load` needs.
    Outputs are compared on random inputs at three batch sizes, one of them 1, and may differ by
    1e-3 of the largest output.

    Args:
        folder: What a finished search wrote.
        format: ``onnx``, ``torch-export`` or ``safetensors``.
        out: File, or a folder that is there; None for ``folder`` itself.
        model: The dense model or what builds it, as for `load`.
        inputs: Positional arguments of one forward, or a mapping of keyword arguments, whose
            shapes and types are taken; None for those that the run recorded.
        opset: Version of ONNX's operators, None for the exporter's own choice.
        if_exists: What to do if the file is there: ``fail`` or ``overwrite``.

    Raises:
        InputError: If something given cannot be used, or the folder is incomplete or altered.
        VerificationError: If the model cannot be exported or the file gives other outputs;
            nothing is written then.
    """
    target = None if out is None else Path(out)
    found = export_folder(Path(folder), format, target, model, inputs, opset, if_exists)
    record_onnx(Path(folder), found)
    return found
