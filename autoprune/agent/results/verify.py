"""The last look at a winner: written aside, reloaded, compared, and only then called a result."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from autoprune.agent.housing.workspace import ONNX, PAGE, POLICY, PROGRAM, REPORT, RESULT
from autoprune.artifacts.architecture import Architecture
from autoprune.artifacts.constructor import Constructor
from autoprune.artifacts.example_inputs import specs_of
from autoprune.artifacts.export import TOLERANCE as EXPORT_TOLERANCE
from autoprune.artifacts.export import Exported, export_model
from autoprune.artifacts.files import PLAN, WEIGHTS, aside
from autoprune.artifacts.result import Checks
from autoprune.artifacts.weights import load_weights, save_weights
from autoprune.core.budget import Budget
from autoprune.core.costs import Costs, cost_text
from autoprune.cost.count import costs_of_cut, count_costs
from autoprune.errors import VerificationError
from autoprune.surgery.compare import difference, outputs, randomised
from autoprune.surgery.ids import Ids
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan
from autoprune.surgery.sparse import kept_at_zero
from autoprune.surgery.verify import (
    TOLERANCE,
    sliced_equals_masked,
)


@dataclass(frozen=True, kw_only=True)
class Winner:
    """A recovered model and what it came from.

    Args:
        dense: The dense model, on the CPU.
        pruned: The recovered model, on the CPU.
        plan: The dense model's plan.
        atoms: Atoms that were removed, by unit.
        inputs: Arguments of one forward.
        constructor: What builds the dense architecture, if it is known.
        latency: Milliseconds of one forward, by target, as they were measured.
    """

    dense: nn.Module
    pruned: nn.Module
    plan: Plan
    atoms: Mapping[str, Ids]
    inputs: Inputs
    constructor: Constructor | None
    latency: Mapping[str, float] = field(default_factory=dict)


def verify(
    winner: Winner, budget: Budget, dense: Costs, folder: Path, onnx: bool
) -> tuple[Costs, Checks]:
    """Check the winner by value and write its model files into ``folder``, or write nothing.

    Returns its costs, counted on the model and on the file that were written.

    Raises:
        VerificationError: If a check fails; the message says which.
        OutputError: If the files cannot be written.
    """
    with aside(folder, "verdict") as place:
        sha256 = save_weights(winner.pruned, place / WEIGHTS)
        constructor = winner.constructor.to_dict(folder) if winner.constructor else None
        cut = winner.plan.cut(winner.atoms)
        zeros = kept_at_zero(winner.pruned)
        inputs = specs_of(winner.inputs)
        architecture = Architecture.of(winner.dense, cut, constructor, sha256, zeros, inputs)
        architecture.write(place)
        costs = _counted(winner, place / WEIGHTS, budget.parts)
        exported = _onnx(winner, place, sha256) if onnx else None
        checks = Checks(
            sliced_equals_masked=_sliced_equals_masked(winner),
            reload_max_diff=_reload(winner, architecture, place),
            onnx_max_diff=exported.max_diff if exported else None,
            onnx_sha256=exported.sha256 if exported else None,
            budget_met=budget.met_by(costs, dense),
        )
        _require(checks, costs, budget)
        for name in (RESULT, POLICY, REPORT, PAGE, ONNX, PROGRAM):  # what an earlier winner left
            (folder / name).unlink(missing_ok=True)
        for name in (WEIGHTS, PLAN, *([ONNX] if onnx else [])):
            os.replace(place / name, folder / name)
    return costs, checks


def _counted(winner: Winner, file: Path, parts: tuple[str, ...]) -> Costs:
    if winner.plan.by_value:
        counted = costs_of_cut(winner.pruned, winner.dense, winner.plan, winner.atoms, parts)
    else:
        counted = count_costs(winner.pruned, winner.inputs, winner.plan.batch, parts)
    return replace(counted, size=file.stat().st_size, latency=winner.latency)


def _sliced_equals_masked(winner: Winner) -> bool:
    twin = randomised(winner.dense, torch.Generator().manual_seed(0))
    gaps = [
        sliced_equals_masked(model, winner.plan, winner.atoms, winner.inputs)
        for model in (winner.dense, twin)
    ]
    return all(gap <= TOLERANCE for gap in gaps)


def _reload(winner: Winner, architecture: Architecture, folder: Path) -> float:
    dense = winner.constructor.build() if winner.constructor else winner.dense
    again = architecture.cut(dense)
    load_weights(again, folder / WEIGHTS, architecture.weights_sha256)
    return difference(outputs(again, winner.inputs), outputs(winner.pruned, winner.inputs))


def _onnx(winner: Winner, folder: Path, weights_sha256: str) -> Exported:
    """Write the file that ``autoprune export`` writes of this result."""
    try:
        return export_model(
            winner.pruned,
            winner.inputs,
            "onnx",
            folder / ONNX,
            weights_sha256=weights_sha256,
        )
    except VerificationError as err:
        raise VerificationError(
            f"{err} The search is kept: set 'onnx: false' (onnx=False in Python) and resume."
        ) from err


def _require(checks: Checks, costs: Costs, budget: Budget) -> None:
    onnx, known = checks.onnx_max_diff, costs.as_dict()
    used = ", ".join(f"{cost} {cost_text(cost, known[cost])}" for cost in budget.limits)
    failed = {
        "the sliced model differs from the masked one": not checks.sliced_equals_masked,
        f"reloading changes outputs by {checks.reload_max_diff:.1e}": not (
            checks.reload_max_diff <= TOLERANCE  # NaN is bad too
        ),
        f"ONNX changes outputs by {onnx or 0:.1e}": not (onnx is None or onnx <= EXPORT_TOLERANCE),
        f"it is over the budget {budget}, for it has {used}": not checks.budget_met,
    }
    problems = [problem for problem, bad in failed.items() if bad]
    if problems:
        raise VerificationError(
            f"The winner failed its checks and was not written: {'; '.join(problems)}. "
            f"The search is kept{_advice(checks)}"
        )


def _advice(checks: Checks) -> str:
    """Return what to do about checks that failed."""
    sound = checks.budget_met and checks.sliced_equals_masked
    if not sound or not checks.reload_max_diff <= TOLERANCE:  # NaN is bad too
        return "; please report this with the model's code."
    return (
        ". Set 'onnx: false' (onnx=False in Python) and resume to do without the file, and please "
        "report this with the model's code."
    )
