"""Units are believed only when shown by value: sliced equals masked, and it makes a difference."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from autoprune.surgery.adapt import adapted
from autoprune.surgery.apply import without
from autoprune.surgery.compare import (
    Observer,
    Tensors,
    difference,
    in_double,
    outputs,
    randomised,
)
from autoprune.surgery.ids import Ids
from autoprune.surgery.mask import Masked
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan
from autoprune.surgery.units import Cut

TOLERANCE = 1e-4
TOLERANCE_DOUBLE = 1e-10
_TWINS = 20  # random copies at most, until one of a detector has work for each of its heads


def random_atoms(atoms: int, share: float, rng: np.random.Generator) -> Ids:
    """Draw about ``share`` of the atoms, at least one, and leave at least one.

    A single atom (a block) is drawn with that probability.
    """
    if atoms == 1:
        return np.arange(int(rng.random() < share))
    count = min(max(round(share * atoms), 1), atoms - 1)
    return np.sort(rng.choice(atoms, count, replace=False))


def sliced_equals_masked(
    model: nn.Module, plan: Plan, atoms: Mapping[str, Ids], inputs: Inputs
) -> float:
    """Return the difference between the sliced and the masked model, in double if it runs so."""
    model, (inputs,) = in_double(model, [inputs])
    return _difference(model, plan, atoms, [inputs])


def _difference(
    model: nn.Module, plan: Plan, atoms: Mapping[str, Ids], input_sets: Sequence[Inputs]
) -> float:
    """Return the largest difference between what is sliced and what is masked.

    Units found by traces of different rank compete for the same channels, so they are compared
    one rank after the other: heads first, then what is left of the width.
    """
    done, before, worst = Cut(), model, 0.0
    ranks = sorted({plan.units[name].rank for name in atoms}, reverse=True) or [0]
    with torch.no_grad():
        for rank in ranks:
            part = plan.cut({n: gone for n, gone in atoms.items() if plan.units[n].rank == rank})
            both = plan.cut({n: gone for n, gone in atoms.items() if plan.units[n].rank >= rank})
            observe = Observer(plan, both)
            masked = Masked(before, part.after(done), rank)
            sliced = without(model, both)
            for inputs in input_sets:
                found = observe(sliced, inputs)
                worst = max(worst, difference(found, observe(masked.model, inputs, masked)))
            done, before = both, sliced
    return worst


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
            others, so that every atom is cut once; a third all but one, and every block.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        input_sets: Sequence[Inputs],
        rng: np.random.Generator,
        share: float = 0.3,
    ) -> None:
        self._plan, self._rng, self._share = plan, rng, share
        for _ in range(_TWINS if plan.by_value else 1):
            twin = randomised(model, torch.Generator().manual_seed(int(rng.integers(2**31))))
            self._twin, wide = in_double(twin, input_sets)
            self._inputs = [x for x in wide if self._runs(x)] or [wide[0]]
            if all(x.numel() for x in self._observed()):
                break
        first = next(self._twin.parameters(), None)  # none where all weights are buffers
        self._double = first is not None and first.dtype == torch.double

    def verified(self) -> Plan:
        """Return the plan without the units that fail; reasons are in ``rejected``."""
        if not any(x.numel() for x in self._observed()):
            why = "the outputs hold no floating-point numbers to compare"
            return self._plan.without(dict.fromkeys(self._plan.units, why))
        why = "no output depends on its atoms, so no check proves anything"
        plan = self._plan.without(dict.fromkeys(self._idle(), why))
        rejected: dict[str, str] = {}
        if plan.units:
            self._accept([], list(plan.units), rejected)
        return plan.without(rejected)

    def _accept(
        self, accepted: list[str], names: list[str], rejected: dict[str, str]
    ) -> list[str]:
        problem = self._problem([*accepted, *names])
        if problem is None:
            return [*accepted, *names]
        if len(names) == 1:
            rejected[names[0]] = problem
            return accepted
        middle = len(names) // 2
        first = self._accept(accepted, names[:middle], rejected)
        return self._accept(first, names[middle:], rejected)

    def _problem(self, names: Sequence[str]) -> str | None:
        """Return what is wrong with removing atoms of all ``names`` together, or None."""
        counts = {name: self._plan.units[name].atoms for name in names}
        first = {n: random_atoms(count, self._share, self._rng) for n, count in counts.items()}
        others = {n: np.setdiff1d(np.arange(count), first[n]) for n, count in counts.items()}
        most = {n: np.arange(int(count > 1), count) for n, count in counts.items()}
        return self._compare(first) or self._compare(others) or self._compare(most)

    def _compare(self, atoms: Mapping[str, Ids]) -> str | None:
        try:
            gap = _difference(self._twin, self._plan, atoms, self._inputs)
        except Exception as err:  # the user's forward may raise anything
            return f"the pruned model raised {type(err).__name__}: {err}"
        if gap > (TOLERANCE_DOUBLE if self._double else TOLERANCE):
            return f"the sliced model differs from the masked one by {gap:.1e}"
        return None

    def _observed(self) -> Tensors:
        with torch.no_grad():
            return Observer(self._plan, Cut())(self._twin, self._inputs[0])

    def _idle(self) -> set[str]:
        """Return the units whose atoms no output depends on: comparing them proves nothing."""
        model = adapted(self._twin)
        named = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        for parameter in named.values():
            parameter.requires_grad_(True)
        try:
            with torch.enable_grad():
                seen = Observer(self._plan, Cut())(model, self._inputs[0])
                total = torch.stack([_mixed(x) for x in seen if x.requires_grad]).sum()
                grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        except Exception:  # the user's forward may have no gradient
            return set()
        moved = {name for name, g in zip(named, grads, strict=True) if g is not None and g.any()}
        return {
            name
            for name, unit in self._plan.units.items()
            if unit.slices and not any(p.tensor in moved for p in unit.readers or unit.makers)
        }

    def _runs(self, inputs: Inputs) -> bool:
        try:
            outputs(self._twin, inputs)
        except Exception:  # a model of fixed input size may raise anything
            return False
        return True
