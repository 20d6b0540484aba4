"""A finished result folder, exported: compared first, and only then put in its place."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from autoprune.artifacts.architecture import Architecture, load, what_builds
from autoprune.artifacts.comparison import all_outputs, gap
from autoprune.artifacts.constructor import Constructor
from autoprune.artifacts.example_inputs import empty_like, other_batches, random_like
from autoprune.artifacts.export import TOLERANCE, Exported, described, export_model
from autoprune.artifacts.export_formats import FILES, Format
from autoprune.artifacts.export_target import (
    IfFileExists,
    check_options,
    refuse_existing,
    target_of,
)
from autoprune.artifacts.files import PLAN, WEIGHTS, aside
from autoprune.core.user_code import blame
from autoprune.errors import (
    ArtifactError,
    ModelError,
    VerificationError,
)
from autoprune.surgery.compare import outputs
from autoprune.surgery.nested import Inputs, describe

Model = nn.Module | Callable[[], nn.Module] | str | None


def export_folder(
    folder: Path,
    format: Format,
    out: Path | None,
    model: Model,
    inputs: Inputs | None,
    opset: int | None,
    if_exists: IfFileExists,
) -> Exported:
    """Export the model of a result folder; see `autoprune.export`."""
    check_options(format, opset, if_exists)
    architecture = Architecture.read(folder)
    target = target_of(folder, format, out)
    files = [target, target.with_name(PLAN)] if format == "safetensors" else [target]
    refuse_existing(files, if_exists)
    builds = what_builds(folder, architecture, model)
    pruned = load(folder, builds)
    inputs = random_like(_recorded(folder, architecture) if inputs is None else inputs)
    _check_forward(pruned, inputs)
    with aside(target.parent, "export") as place:
        if format == "safetensors":
            found = _copy(folder, architecture, target, place, builds, pruned, inputs)
        else:
            sha256 = architecture.weights_sha256
            path = place / FILES[format]
            found = export_model(pruned, inputs, format, path, weights_sha256=sha256, opset=opset)
        _require(found)
        for file in files:
            name = file.name if format == "safetensors" else FILES[format]
            os.replace(place / name, file)
    return replace(found, file=target)


def _recorded(folder: Path, architecture: Architecture) -> Inputs:
    if architecture.inputs is None:
        raise ArtifactError(
            f"{folder} does not say what inputs its model takes. Give their shapes, batch first: "
            "--input 2,3,224,224 (inputs=[torch.zeros(2, 3, 224, 224)] in Python)."
        )
    return empty_like(architecture.inputs)


def _check_forward(model: nn.Module, inputs: Inputs) -> None:
    try:
        outputs(model, inputs)
    except Exception as err:  # the user's forward may raise anything
        raise ModelError(
            f"The model's forward failed on inputs {describe(inputs)}: {blame(err)} Give the "
            "shapes it takes with --input (inputs= in Python)."
        ) from err


def _copy(
    folder: Path,
    architecture: Architecture,
    target: Path,
    place: Path,
    builds: nn.Module | Callable[[], nn.Module],
    pruned: nn.Module,
    inputs: Inputs,
) -> Exported:
    """Copy the two files that `load` needs; a file that builds the model is named from there."""
    shutil.copyfile(folder / WEIGHTS, place / WEIGHTS)
    raw = architecture.constructor
    if raw is not None:
        moved = Constructor.from_dict(raw, folder).to_dict(target.parent)
        raw = raw | {"target": moved["target"]}  # the sum stays the one of the search
    architecture.model_copy(update={"constructor": raw}).write(place)
    again = load(place, builds)
    gaps = [gap(all_outputs(again, x), all_outputs(pruned, x)) for x in other_batches(inputs)]
    return described("safetensors", place / WEIGHTS, max(gaps), inputs)


def _require(found: Exported) -> None:
    if not found.max_diff <= TOLERANCE:  # NaN is bad too
        raise VerificationError(
            f"The exported model gives other outputs: they differ by {found.max_diff:.1e} of the "
            f"largest output, at most {TOLERANCE:.0e} is allowed. Nothing was written. Try "
            "another format or --opset, and please report this with the model's code."
        )
