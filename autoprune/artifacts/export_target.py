"""Where an export goes, and whether it may: all that is checked before any work is done."""

from pathlib import Path
from typing import Literal, get_args

import onnx

from autoprune.artifacts.export_formats import FILES, FORMATS, Format
from autoprune.artifacts.files import PLAN, WEIGHTS
from autoprune.errors import ConfigError, OutputError, RunExistsError

IfFileExists = Literal["fail", "overwrite"]
OLDEST_OPSET = 7  # that PyTorch's exporter knows


def check_options(format: str, opset: int | None, if_exists: str) -> None:
    """Raise `ConfigError` for an option that nobody knows or that does not fit the format."""
    if format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}. Got {format!r}.")
    if if_exists not in get_args(IfFileExists):
        raise ConfigError(f"if_exists must be 'fail' or 'overwrite'. Got {if_exists!r}.")
    if opset is None:
        return
    if format != "onnx":
        raise ConfigError(f"--opset is for the format onnx. Got {opset!r} for {format}.")
    newest = onnx.defs.onnx_opset_version()
    if type(opset) is not int or not OLDEST_OPSET <= opset <= newest:
        raise ConfigError(
            f"--opset must be a whole number from {OLDEST_OPSET} to {newest}. Got {opset!r}."
        )


def target_of(folder: Path, format: Format, out: Path | None) -> Path:
    """Return the file to write: ``out``, or one in it or in the result folder.

    Raises:
        OutputError: If its folder is not there, or its name does not fit the format.
    """
    target = folder if out is None else out
    if target.is_dir():
        target = target / FILES[format]
    suffix = Path(FILES[format]).suffix
    if format == "safetensors" and target.name != WEIGHTS:
        raise OutputError(
            f"A copy that can be loaded is a folder with {WEIGHTS} and {PLAN}. Give a "
            f"folder that is there, or a file {WEIGHTS} in one. Got {str(target)!r}."
        )
    if target.suffix != suffix:
        raise OutputError(f"The name of the file must end with {suffix}. Got {str(target)!r}.")
    if not target.parent.is_dir():
        raise OutputError(
            f"There is no folder {str(target.parent)!r} to write into. Make it first, or choose "
            "another --out."
        )
    if format == "safetensors" and target.parent.resolve() == folder.resolve():
        raise OutputError(f"{folder} holds {WEIGHTS} already. Give another folder with --out.")
    return target


def refuse_existing(files: list[Path], if_exists: IfFileExists) -> None:
    """Raise `RunExistsError` if one of the files is there and may not be replaced."""
    there = [str(file) for file in files if file.exists()]
    if there and if_exists == "fail":
        raise RunExistsError(
            f"{there[0]} exists already. Add --if-exists overwrite to replace it, or choose "
            "another --out (if_exists=, out= in Python)."
        )
