"""``autoprune export``: a thin client of `autoprune.result_api`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.cli.model_options import MODEL_HELP, Args, AsJson, build, random_inputs
from autoprune.cli.streams import echo, stdout_to_stderr
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    from autoprune.artifacts.export import Exported


class Format(StrEnum):
    """What is written."""

    onnx = "onnx"
    torch_export = "torch-export"
    safetensors = "safetensors"


class IfFileExists(StrEnum):
    """What to do if the file is there."""

    fail = "fail"
    overwrite = "overwrite"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished search.")],
    format: Annotated[Format, typer.Option("--format", help="What is written.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file, or a folder that is there; RUN if left out."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=f"{MODEL_HELP} Needed only if RUN does not say it."),
    ] = None,
    args: Args = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="N,C,H,W",
            help="Shape of an input, batch first. Repeat it for more inputs. Needed only if RUN "
            "does not say it.",
        ),
    ] = None,
    opset: Annotated[int | None, typer.Option(min=1, help="Version of ONNX's operators.")] = None,
    if_exists: Annotated[
        IfFileExists, typer.Option(help="What to do if the file is there already.")
    ] = IfFileExists.fail,
    as_json: AsJson = False,
) -> None:
    """Write a pruned model for other runtimes, and compare the outputs before it is kept.

    onnx and torch-export take any batch size; height and width are those of the run, or of
    --input. They have batch norms folded; safetensors is a copy of weights and plan.json that
    autoprune.load reads. Outputs may differ by 1e-3 of the largest.
    """
    if args and model is None:
        raise ConfigError("--args are for what --model names. Give --model as well.")
    with stdout_to_stderr():
        from autoprune import result_api

        found = result_api.export(
            run,
            format.value,
            out=out,
            model=None if model is None else build(model, args or [], what="--model"),
            inputs=random_inputs(inputs, as_list=False) if inputs else None,
            opset=opset,
            if_exists=if_exists.value,
        )
    echo(json.dumps(found.to_dict(), indent=2) if as_json else "\n".join(_lines(found)))


def _lines(found: "Exported") -> list[str]:
    from autoprune.artifacts.export import TOLERANCE

    lines = [f"{found.file}: {found.format}, {found.bytes:,} bytes, SHA-256 {found.sha256}"]
    if found.opset is not None:
        lines.append(f"Opset {found.opset}.")
    if found.batch_norms is not None:
        lines.append(f"Batch norms: {found.batch_norms.before}, {found.batch_norms.after} left.")
    lines.append(
        f"Outputs differ by {found.max_diff:.1e} of the largest; {TOLERANCE:.0e} is allowed."
    )
    return lines
