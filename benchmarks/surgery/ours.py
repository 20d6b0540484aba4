"""One model of the zoo through our surgery: is every step right?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import torch
from torch import nn

from autoprune.artifacts.weights import load_weights, save_weights
from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.formats.onnx import export_onnx, run_onnx
from autoprune.reporting.inventory import Inventory, inventory
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import Observer, difference, outputs, randomised
from autoprune.surgery.discover import discover
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied
from autoprune.surgery.verify import TOLERANCE, random_atoms, sliced_equals_masked
from benchmarks.isolated import Note, first_line
from benchmarks.surgery.build import Inputs, build, input_sets
from benchmarks.surgery.right import require, require_runs, require_shapes
from benchmarks.surgery.zoo import Model

SPARSITY = 0.3
TEETH = 1e-3  # least difference that cutting must make, or comparing proves nothing


def check(note: Note, model: Model) -> None:
    """Note what holds: ``traced``, ``forward``, ``equal``, ``round_trip``, ``onnx``, and figures.

    ``discover_s`` is processor time.

    Raises:
        VerificationError: If the pruned model is not what it should be.
    """
    note(stage="build")
    dense = build(model)
    sets = input_sets(model, dense)
    note(stage="discover")
    started = process_time()
    plan = discover(dense, sets[0], np.random.default_rng(0))
    note(traced=True, discover_s=process_time() - started, **_found(inventory(dense, plan)))
    atoms = cut_everywhere(plan)
    note(stage="forward")
    pruned = apply(dense, plan, atoms)
    require_runs(dense, pruned, sets)
    require_shapes(model, dense, pruned, sets)
    note(forward=True, priced=_priced(dense, plan, atoms, pruned, sets[0]), stage="compare")
    twin = randomised(dense, torch.Generator().manual_seed(1))
    note(gap=_check_values(twin, plan, atoms, sets))
    note(equal=True, stage="round trip")
    pruned = apply(twin, plan, atoms)
    _check_round_trip(pruned, sets[0])
    note(round_trip=True)
    if model.onnx:
        note(stage="onnx")
        note(**_onnx(pruned, sets[0]))


def cut_everywhere(plan: Plan, seed: int = 0) -> dict[str, Ids]:
    """Draw 30% of the atoms of every unit of channels or heads."""
    rng = np.random.default_rng(seed)
    units = plan.of("channel", "head").items()
    return {name: random_atoms(unit.atoms, SPARSITY, rng) for name, unit in units}


def _priced(
    dense: nn.Module, plan: Plan, atoms: Mapping[str, Ids], pruned: nn.Module, inputs: Inputs
) -> bool:
    """Tell whether the plan alone says what the pruned model costs when it is counted.

    Memory is left out where it depends on values, as after non-maximum suppression.
    """
    kept = {name: plan.units[name].atoms - len(gone) for name, gone in atoms.items()}
    told = CostModel(dense, plan).price(kept).as_dict()
    counted = count_costs(pruned, inputs, plan.batch).as_dict()
    by_value = {"memory"} if plan.witnesses else set()
    return all(told[cost] == counted[cost] for cost in told.keys() - by_value)


def _found(found: Inventory) -> dict[str, object]:
    reasons = [entry.reason for entry in found.sealed]
    counted = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    return {
        "prunable": found.prunable,
        "params": found.params,
        "units": len(found.units),
        "rejected": dict(found.rejected),
        "sealed": counted,
    }


def _check_values(
    twin: nn.Module, plan: Plan, atoms: Mapping[str, Ids], sets: Sequence[Inputs]
) -> float:
    gap = max(sliced_equals_masked(twin, plan, atoms, inputs) for inputs in sets)
    require(gap <= TOLERANCE, f"sliced and masked differ by {gap:.1e}")
    observe = Observer(plan, plan.cut(atoms))
    with torch.no_grad():
        made = difference(observe(apply(twin, plan, atoms), sets[0]), observe(twin, sets[0]))
    require(made >= TEETH, f"cutting changes the outputs by {made:.1e} only: nothing is proved")
    return gap


def _check_round_trip(pruned: nn.Module, inputs: Inputs) -> None:
    wanted = outputs(pruned, inputs)
    other = _emptied(pruned)
    other.load_state_dict(pruned.state_dict())
    require(_same(outputs(other, inputs), wanted), "state_dict gives other outputs")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        other = _emptied(pruned)
        load_weights(other, path, save_weights(pruned, path))
    require(_same(outputs(other, inputs), wanted), "safetensors gives other outputs")


def _emptied(model: nn.Module) -> nn.Module:
    """Return a copy whose saved tensors are all zero."""
    other = copied(model)
    for tensor in other.state_dict().values():
        tensor.zero_()
    return other


def _same(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def _onnx(pruned: nn.Module, inputs: Inputs) -> dict[str, object]:
    """Return whether onnxruntime gives the same, else why not; it decides nothing else."""
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export_onnx(pruned, inputs, path)
            gap = difference(run_onnx(path, inputs), outputs(pruned, inputs))
    except Exception as err:  # exporter and runtime may raise anything
        return {"onnx": False, "onnx_failure": first_line(err)}
    if gap <= TOLERANCE:
        return {"onnx": True, "onnx_gap": gap}
    return {"onnx": False, "onnx_failure": f"the outputs differ by {gap:.1e}"}
