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

from autoprune.surgery.apply import apply
from autoprune.surgery.ids import Ids
from autoprune.surgery.mask import Masked
from autoprune.surgery.modes import evaluating
from autoprune.surgery.units import Plan

TOLERANCE = 1e-4
TEETH = 1e-3
_AFFINE_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


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
        if other.numel():
            gap = (one - other).abs().max() / other.abs().max().clamp_min(1e-12)
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
        if isinstance(module, _AFFINE_NORMS):
            fill(getattr(module, "running_mean", None), -0.5, 0.5)
            fill(getattr(module, "running_var", None), 0.5, 1.5)
            fill(module.weight, 0.5, 1.5)
            fill(module.bias, -0.5, 0.5)
    for parameter in twin.parameters():
        if not parameter.any():
            fill(parameter, -0.1, 0.1)
    return twin


def random_atoms(atoms: int, share: float, rng: np.random.Generator) -> Ids:
    """Draw about ``share`` of the atoms, at least one, and leave at least one."""
    count = min(max(round(share * atoms), 1), atoms - 1)
    return np.sort(rng.choice(atoms, count, replace=False))


def sliced_equals_masked(
    model: nn.Module, plan: Plan, atoms: Mapping[str, Ids], inputs: Sequence[Any]
) -> float:
    """Return the difference between the sliced and the masked model on ``inputs``."""
    return difference(
        outputs(apply(model, plan, atoms), inputs), outputs(Masked(model, plan, atoms), inputs)
    )


class Verifier:
    """Finds the units of a plan that hold what they promise.

    Units are tried together, and halved where a trial fails, so that a plan without faults costs
    few trials however many units it has.

    Args:
        model: The dense model.
        plan: Its plan.
        input_sets: Inputs to compare on; the first always fit, others (another image size) are
            skipped if the dense model itself refuses them.
        rng: Source of the masks.
        masks: Random masks per trial.
        share: Share of every unit's atoms that a mask removes.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        input_sets: Sequence[Sequence[Any]],
        rng: np.random.Generator,
        masks: int = 2,
        share: float = 0.3,
    ) -> None:
        self._plan, self._rng, self._masks, self._share = plan, rng, masks, share
        self._twin = randomised(model, torch.Generator().manual_seed(int(rng.integers(2**31))))
        self._inputs = [x for x in input_sets if self._runs(x)] or [input_sets[0]]
        self._dense = [outputs(self._twin, x) for x in self._inputs]
        self._rejected: dict[str, str] = {}

    def verified(self) -> Plan:
        """Return the plan without the units that fail; reasons are in ``rejected``."""
        names = list(self._plan.units)
        kept = self._accept([], names) if names else []
        units = {name: unit for name, unit in self._plan.units.items() if name in kept}
        gone = {name: self._plan.units[name].atoms for name in self._rejected}
        return replace(
            self._plan,
            units=units,
            rejected={**self._plan.rejected, **self._rejected},
            terms=tuple(term.freeze(gone) for term in self._plan.terms),
        )

    def _accept(self, accepted: list[str], names: list[str]) -> list[str]:
        problem = self._problem([*accepted, *names])
        if problem is None:
            return [*accepted, *names]
        if len(names) == 1:
            self._rejected[names[0]] = problem
            return accepted
        middle = len(names) // 2
        return self._accept(self._accept(accepted, names[:middle]), names[middle:])

    def _problem(self, names: Sequence[str]) -> str | None:
        """Return what is wrong with removing atoms of all ``names`` together, or None."""
        for _ in range(self._masks):
            atoms = {
                name: random_atoms(self._plan.units[name].atoms, self._share, self._rng)
                for name in names
            }
            problem = self._compare(atoms)
            if problem is not None:
                return problem
        return None

    def _compare(self, atoms: Mapping[str, Ids]) -> str | None:
        masked = Masked(self._twin, self._plan, atoms)
        references = [outputs(masked, x) for x in self._inputs]
        try:
            sliced = apply(self._twin, self._plan, atoms)
            found = [outputs(sliced, x) for x in self._inputs]
        except Exception as err:  # the user's forward may raise anything
            return f"the pruned model raised {type(err).__name__}: {err}"
        gap = max(map(difference, found, references))
        if gap > TOLERANCE:
            return f"the sliced model differs from the masked one by {gap:.1e}"
        if max(map(difference, references, self._dense)) < TEETH:
            return "removing its atoms hardly changes an output, so the check proves nothing"
        return None

    def _runs(self, inputs: Sequence[Any]) -> bool:
        try:
            outputs(self._twin, inputs)
        except Exception:  # a model of fixed input size may raise anything
            return False
        return True
