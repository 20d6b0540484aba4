"""Units are believed only when shown by value: sliced equals masked, and it makes a difference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves, tree_map_only

from autoprune.surgery.adapt import adapted
from autoprune.surgery.apply import apply
from autoprune.surgery.ids import Ids
from autoprune.surgery.mask import Masked
from autoprune.surgery.modes import evaluating
from autoprune.surgery.tensors import copied
from autoprune.surgery.units import Plan

TOLERANCE = 1e-4
TOLERANCE_DOUBLE = 1e-8
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
    twin = copied(model)

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
    """Return the difference between the sliced and the masked model, in double if it runs so."""
    model, (inputs,) = _in_double(model, [inputs])
    return difference(
        outputs(apply(model, plan, atoms), inputs), outputs(Masked(model, plan, atoms), inputs)
    )


def _in_double(
    model: nn.Module, input_sets: Sequence[Sequence[Any]]
) -> tuple[nn.Module, Sequence[Sequence[Any]]]:
    """Return model and inputs in double precision, so that rounding cannot look like a fault.

    A model that insists on its precision is left as it is.
    """

    def widen(x: torch.Tensor) -> torch.Tensor:
        return x.double() if x.is_floating_point() else x

    wide = [tree_map_only(torch.Tensor, widen, inputs) for inputs in input_sets]
    twin = copied(model).double()
    try:
        outputs(twin, wide[0])
    except Exception:  # the user's forward may raise anything
        return model, input_sets
    return twin, wide


def _differentiable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _mixed(x: torch.Tensor) -> torch.Tensor:
    """Return a sum over ``x`` with all weights different, so that nothing cancels."""
    weights = torch.linspace(0.5, 1.5, x.numel(), dtype=x.dtype, device=x.device)
    return (x * weights.view_as(x)).sum()


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
        share: Share of every unit's atoms that a first mask removes. A second one removes the
            others, so that every atom is cut once; a third all but one.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        input_sets: Sequence[Sequence[Any]],
        rng: np.random.Generator,
        share: float = 0.3,
    ) -> None:
        self._plan, self._rng, self._share = plan, rng, share
        twin = randomised(model, torch.Generator().manual_seed(int(rng.integers(2**31))))
        self._twin, input_sets = _in_double(twin, input_sets)
        self._inputs = [x for x in input_sets if self._runs(x)] or [input_sets[0]]
        self._double = next(self._twin.parameters()).dtype == torch.double
        self._rejected: dict[str, str] = {}

    def verified(self) -> Plan:
        """Return the plan without the units that fail; reasons are in ``rejected``."""
        if not any(x.numel() for x in outputs(self._twin, self._inputs[0])):
            why = "the outputs hold no floating-point numbers to compare"
            return replace(self._plan, units={}, rejected=dict.fromkeys(self._plan.units, why))
        for name in self._idle():
            self._rejected[name] = "no output depends on its atoms, so no check proves anything"
        names = [name for name in self._plan.units if name not in self._rejected]
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
        counts = {name: self._plan.units[name].atoms for name in names}
        first = {n: random_atoms(count, self._share, self._rng) for n, count in counts.items()}
        others = {n: np.setdiff1d(np.arange(count), first[n]) for n, count in counts.items()}
        all_but_one = {n: np.arange(1, count) for n, count in counts.items()}
        return self._compare(first) or self._compare(others) or self._compare(all_but_one)

    def _compare(self, atoms: Mapping[str, Ids]) -> str | None:
        masked = Masked(self._twin, self._plan, atoms)
        references = [outputs(masked, x) for x in self._inputs]
        try:
            sliced = apply(self._twin, self._plan, atoms)
            found = [outputs(sliced, x) for x in self._inputs]
        except Exception as err:  # the user's forward may raise anything
            return f"the pruned model raised {type(err).__name__}: {err}"
        gap = max(map(difference, found, references))
        if gap > (TOLERANCE_DOUBLE if self._double else TOLERANCE):
            return f"the sliced model differs from the masked one by {gap:.1e}"
        return None

    def _idle(self) -> set[str]:
        """Return the units whose atoms no output depends on: comparing them proves nothing."""
        model = adapted(self._twin)
        named = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        for parameter in named.values():
            parameter.requires_grad_(True)
        try:
            with evaluating(model), torch.enable_grad():
                leaves = tree_leaves(model(*self._inputs[0]))
                total = torch.stack([_mixed(x) for x in leaves if _differentiable(x)]).sum()
                grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        except Exception:  # the user's forward may have no gradient
            return set()
        moved = {name for name, g in zip(named, grads, strict=True) if g is not None and g.any()}
        return {
            name
            for name, unit in self._plan.units.items()
            if not any(part.tensor in moved for part in unit.readers or unit.makers)
        }

    def _runs(self, inputs: Sequence[Any]) -> bool:
        try:
            outputs(self._twin, inputs)
        except Exception:  # a model of fixed input size may raise anything
            return False
        return True
