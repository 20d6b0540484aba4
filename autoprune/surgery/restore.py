"""Give units back to a pruned model: their original bytes, beside what was learnt since."""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import nn

from autoprune._hints import did_you_mean
from autoprune.errors import ModelError
from autoprune.surgery.apply import apply
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.sparse import keep_zeros, kept_at_zero
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import staying


def restored(
    pruned: nn.Module,
    dense: nn.Module,
    plan: Plan,
    atoms: Mapping[str, Ids],
    units: Collection[str],
) -> nn.Module:
    """Return the model in which ``units`` are whole again.

    What belongs to them has the bytes it has in ``dense``; everything else keeps what it is in
    ``pruned``, fine-tuned or not; single weights kept at zero stay so. Neither model is changed.

    Args:
        pruned: ``apply(dense, plan, atoms)``, trained since or not.
        dense: The dense model.
        plan: Its plan.
        atoms: Numbers of the atoms that are gone, by unit.
        units: Names of the units to give back.

    Raises:
        ModelError: If a unit was not cut, or ``pruned`` is not what ``atoms`` leave of ``dense``.
    """
    for name in units:
        if name not in atoms:
            raise ModelError(
                f"The unit {name!r} is whole: nothing of it can be restored."
                f"{did_you_mean(name, atoms)}"
            )
    left = {name: gone for name, gone in atoms.items() if name not in units}
    wider = apply(dense, plan, left)
    missing = plan.cut(atoms).after(plan.cut(left))
    values = state_tensors(pruned)
    for name, target in state_tensors(wider).items():
        if not missing.drops(name):
            _write(name, target, values.get(name), missing.positions.get(name, {}))
            target.requires_grad_(values[name].requires_grad)
    # A block that comes back brings zeros of its own.
    keep_zeros(wider, dict.fromkeys([*kept_at_zero(pruned), *kept_at_zero(wider)]))
    return wider.train(pruned.training)


def _write(
    name: str, target: torch.Tensor, value: torch.Tensor | None, gone: Mapping[int, Ids]
) -> None:
    """Write ``value`` into the positions of ``target`` that are not ``gone``."""
    none = np.empty(0, np.int64)
    kept = [staying(size, gone.get(dim, none)) for dim, size in enumerate(target.shape)]
    shape = tuple(map(len, kept))
    if value is None or tuple(value.shape) != shape or value.dtype != target.dtype:
        found = "no such tensor" if value is None else f"shape {tuple(value.shape)} {value.dtype}"
        raise ModelError(
            f"The pruned model does not belong to these atoms: {name!r} should have shape "
            f"{shape} {target.dtype}, it has {found}. Give the atoms it was cut with."
        )
    places = [torch.from_numpy(index).to(target.device) for index in np.ix_(*kept)]
    with torch.no_grad():
        target[tuple(places) if places else ...] = value.detach()
