"""How far what a file gives is from what its model gives."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from autoprune.artifacts.export_formats import Written, run_file
from autoprune.formats.choices import run_program
from autoprune.formats.suppression import without_branches
from autoprune.surgery.compare import difference
from autoprune.surgery.modes import evaluating, seeded
from autoprune.surgery.nested import Inputs, forward, tensors_in

_CLOSE = 1e-4


def all_outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Return every tensor of one forward in eval mode, in the form that exporters follow."""
    with evaluating(model), torch.no_grad(), without_branches(), seeded():
        return list(tensors_in(forward(model, inputs)))


def gap(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """Return the largest difference relative to the largest value of ``right``, see `difference`.

    Integers and booleans, labels for one, have to be equal: the difference is infinite otherwise.
    """
    whole = [[x for x in side if not x.is_floating_point()] for side in (left, right)]
    same = len(whole[0]) == len(whole[1]) and all(map(torch.equal, *whole))
    floats = [[x for x in side if x.is_floating_point()] for side in (left, right)]
    return difference(*floats) if same else float("inf")


def gap_of_file(path: Path, written: Written, model: nn.Module, inputs: Inputs) -> float:
    """Return the difference between the outputs of a file and of its model.

    Where a model chooses by its numbers (top-k, thresholds, suppression of boxes) and some are
    next to equal, rounding decides what it returns. If outputs are apart and it may be for that,
    the file is run with each choice made on the model's own numbers: the difference is then the
    largest of these numbers and of the outputs.

    Args:
        path: The file.
        written: What its writer told.
        model: The model, on the CPU.
        inputs: Arguments of one forward.
    """
    own = all_outputs(model, inputs)
    found = gap(run_file(path, inputs), own)
    if found <= _CLOSE:
        return found
    again = run_program(written.program, inputs, ordered=False)
    if not again.chosen_by:
        return found
    traced = run_program(written.program, inputs)
    steered = written.steered(inputs, traced.chosen_by)
    return max(gap(again.outputs, own), *map(gap, steered, traced))
