"""What of a model can be pruned, what cannot, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.units import Kind, Slice, Unit, inside, positions
from autoprune.surgery.weights import layer_parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEntry:
    """One unit.

    Args:
        name: Its name.
        kind: ``channel``, ``head`` or ``block``.
        atoms: Number of its atoms.
        makers: ``tensor[dim]`` of everything that makes the atoms, norms included.
        readers: ``tensor[dim]`` of the weights that read them.
        params: Parameters that would go with all of its atoms.
        share: The same as a share of the model's parameters.
    """

    name: str
    kind: Kind
    atoms: int
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    params: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEntry:
    """One dimension of a parameter of which at least a part cannot be pruned.

    Args:
        tensor: The parameter.
        dim: The dimension.
        size: Its size.
        reason: The op that sealed it.
    """

    tensor: str
    dim: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one trace of a model found.

    Args:
        units: The units, all verified.
        sealed: Dimensions that cannot be pruned; axes of convolution kernels are left out.
        rejected: Reason by name of the units that failed verification.
        params: Parameters of the model, tied ones counted once.
        layer_params: Those of its convolutions, linear layers and attention projections.
        prunable: Share of ``layer_params`` that some unit owns.
        notes: What a user should know about the trace.
    """

    units: Sequence[UnitEntry]
    sealed: Sequence[SealedEntry]
    rejected: Mapping[str, str]
    params: int
    layer_params: int
    prunable: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def inventory(model: nn.Module, plan: Plan) -> Inventory:
    """Return what ``plan`` says about ``model``, parameter by parameter."""
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    total = sum(map(prod, shapes.values()))
    layers = layer_parameters(model)
    in_layers = sum(prod(shapes[name]) for name in layers)
    owned = _elements(shapes, _positions(plan.units.values()), layers)
    return Inventory(
        units=[_entry(unit, shapes, total) for unit in plan.units.values()],
        sealed=_sealed(model, plan, shapes),
        rejected=dict(plan.rejected),
        params=total,
        layer_params=in_layers,
        prunable=owned / in_layers if in_layers else 0.0,
        notes=plan.notes,
    )


def _entry(unit: Unit, shapes: Mapping[str, tuple[int, ...]], total: int) -> UnitEntry:
    params = _elements(shapes, _positions([unit]), shapes)
    if unit.kind == "block":
        params = sum(prod(shapes[name]) for name in shapes if inside(name, unit.members[0]))
    return UnitEntry(
        name=unit.name,
        kind=unit.kind,
        atoms=unit.atoms,
        makers=_places(unit.makers),
        readers=_places(unit.readers),
        params=params,
        share=params / total,
    )


def _positions(units: Iterable[Unit]) -> dict[str, dict[int, Ids]]:
    """Return every position that the units own, by tensor and dimension."""
    return positions((part, part.index) for unit in units for part in unit.slices)


def _places(parts: Iterable[Slice]) -> tuple[str, ...]:
    return tuple(f"{part.tensor}[{part.dim}]" for part in parts)


def _elements(
    shapes: Mapping[str, tuple[int, ...]],
    gone: Mapping[str, Mapping[int, Ids]],
    names: Iterable[str],
) -> int:
    """Return how many elements of the named tensors lie at a position that goes."""
    count = 0
    for name in names:
        left = [size - len(gone.get(name, {}).get(d, ())) for d, size in enumerate(shapes[name])]
        count += prod(shapes[name]) - prod(left)
    return count


def _sealed(
    model: nn.Module, plan: Plan, shapes: Mapping[str, tuple[int, ...]]
) -> list[SealedEntry]:
    kernels = {id(module.weight) for module in model.modules() if isinstance(module, _ConvNd)}
    convolutions = {name for name, p in model.named_parameters() if id(p) in kernels}
    found = []
    for place, reason in plan.sealed.items():
        tensor, _, number = place.removesuffix("]").rpartition("[")
        dim = int(number)
        if tensor in shapes and not (tensor in convolutions and dim > 1):
            size = shapes[tensor][dim]
            found.append(SealedEntry(tensor=tensor, dim=dim, size=size, reason=reason))
    return found
