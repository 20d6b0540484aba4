"""Units are believed only when shown by value: sliced equals masked, and it makes a difference."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves

from autoprune.surgery.apply import apply, masked
from autoprune.surgery.ids import Ids
from autoprune.surgery.modes import evaluating
from autoprune.surgery.units import Plan

TOLERANCE = 1e-4
TEETH = 1e-3


def outputs(model: nn.Module, inputs: Sequence[Any]) -> list[torch.Tensor]:
    """Return every floating-point tensor of ``model(*inputs)``, in eval mode, no gradients."""
    with evaluating(model), torch.no_grad():
        leaves = tree_leaves(model(*inputs))
    return [x.detach() for x in leaves if isinstance(x, torch.Tensor) and x.is_floating_point()]


def difference(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """Return the largest difference relative to the largest value of ``right``.

    Outputs of different number or shape differ by infinity.
    """
    if [x.shape for x in left] != [x.shape for x in right]:
        return float("inf")
    worst = 0.0
    for one, other in zip(left, right, strict=True):
        scale = other.abs().max().clamp_min(1e-12) if other.numel() else torch.tensor(1.0)
        gap = (one - other).abs().max() / scale if other.numel() else torch.tensor(0.0)
        worst = max(worst, float(gap)) if bool(torch.isfinite(gap)) else float("inf")
    return worst


def randomised(model: nn.Module, rng: torch.Generator) -> nn.Module:
    """Return a copy with random norm statistics and affines, and without all-zero parameters.

    Fresh statistics and zero-initialised heads would make every comparison ``0 == 0``.
    """
    twin = copy.deepcopy(model)

    def fill(tensor: torch.Tensor | None, low: float, high: float) -> None:
        if tensor is not None:
            values = torch.rand(tensor.shape, generator=rng) * (high - low) + low
            tensor.data.copy_(values)

    for module in twin.modules():
        if isinstance(module, _NormBase):
            fill(module.running_mean, -0.5, 0.5)
            fill(module.running_var, 0.5, 1.5)
            fill(module.weight, 0.5, 1.5)
            fill(module.bias, -0.5, 0.5)
    for parameter in twin.parameters():
        if not parameter.any():
            fill(parameter, -0.1, 0.1)
    return twin


def verify_units(
    model: nn.Module,
    plan: Plan,
    input_sets: Sequence[Sequence[Any]],
    rng: np.random.Generator,
    masks: int = 2,
) -> Plan:
    """Return ``plan`` without the units that fail; their reasons are in ``plan.rejected``.

    Args:
        model: The dense model.
        plan: Its plan.
        input_sets: Inputs to compare on; the first always fit, others (another image size) are
            skipped if the dense model itself refuses them.
        rng: Source of the masks.
        masks: Random masks tried per unit.
    """
    twin = randomised(model, torch.Generator().manual_seed(int(rng.integers(2**31))))
    usable = [inputs for inputs in input_sets if _runs(twin, inputs)] or [input_sets[0]]
    dense = [outputs(twin, inputs) for inputs in usable]
    rejected: dict[str, str] = {}
    for name, unit in plan.units.items():
        for _ in range(masks):
            gone = random_atoms(unit.atoms, 0.3, rng)
            problem = _check(twin, plan, {name: gone}, usable, dense)
            if problem is not None:
                rejected[name] = problem
                break
    kept = {name: unit for name, unit in plan.units.items() if name not in rejected}
    return _freeze(replace(plan, units=kept, rejected={**plan.rejected, **rejected}), plan)


def random_atoms(atoms: int, share: float, rng: np.random.Generator) -> Ids:
    """Draw about ``share`` of the atoms, at least one, and leave at least one."""
    count = min(max(round(share * atoms), 1), atoms - 1)
    return np.sort(rng.choice(atoms, count, replace=False))


def sliced_equals_masked(
    model: nn.Module, plan: Plan, atoms: Mapping[str, Ids], inputs: Sequence[Any]
) -> float:
    """Return the difference between the sliced and the masked model on ``inputs``."""
    return difference(
        outputs(apply(model, plan, atoms), inputs), outputs(masked(model, plan, atoms), inputs)
    )


def _runs(model: nn.Module, inputs: Sequence[Any]) -> bool:
    try:
        outputs(model, inputs)
    except Exception:  # a model of fixed input size may raise anything
        return False
    return True


def _check(
    model: nn.Module,
    plan: Plan,
    atoms: Mapping[str, Ids],
    input_sets: Sequence[Sequence[Any]],
    dense: Sequence[Sequence[torch.Tensor]],
) -> str | None:
    """Return what is wrong with removing ``atoms``, or None."""
    try:
        sliced, reference = apply(model, plan, atoms), masked(model, plan, atoms)
        pairs = [(outputs(sliced, x), outputs(reference, x)) for x in input_sets]
    except Exception as err:  # the user's forward may raise anything
        return f"the pruned model raised {type(err).__name__}: {err}"
    gap = max(difference(ours, theirs) for ours, theirs in pairs)
    if gap > TOLERANCE:
        return f"the sliced model differs from the masked one by {gap:.1e}"
    effect = max(difference(theirs, full) for (_, theirs), full in zip(pairs, dense, strict=True))
    if effect < TEETH * TOLERANCE:
        return "removing its atoms changes no output, so the check proves nothing"
    return None


def _freeze(plan: Plan, before: Plan) -> Plan:
    """Turn the sizes of rejected units into constants of the cost terms."""
    gone = {name: before.units[name].atoms for name in plan.rejected if name in before.units}
    return replace(plan, terms=tuple(term.freeze(gone) for term in plan.terms))
