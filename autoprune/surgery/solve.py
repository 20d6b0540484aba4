"""From joined ids to atoms, from atoms to units."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from autoprune.surgery.ids import Ids, IdTable
from autoprune.surgery.op import Record
from autoprune.surgery.plan import Plan
from autoprune.surgery.sizes import Owners, activations, cost_terms, tensor_sizes
from autoprune.surgery.units import Kind, Slice, Unit

BRANCHES = (
    "The forward reads values of tensors (item, bool or int of one), so it may branch on them: "
    "only the path it took for these inputs was traced."
)
UNUSED = "was not used in the traced forward"
Footprint = tuple[tuple[int, int], ...]


def solve(
    records: Sequence[Record],
    tensors: Mapping[str, torch.Tensor],
    batch: int,
    blocks: Sequence[Unit] = (),
) -> Plan:
    """Return the plan for a model that was traced once for each rank.

    Args:
        records: What was met; what competes with the units of the first is in the others.
        tensors: Parameters and buffers by name.
        batch: Samples in the traced batch.
        blocks: Residual blocks.
    """
    first = records[0]
    labels = _components(first.ids)
    reasons = _sealed_components(first.ids, labels)
    groups = _groups(first.ids, labels, reasons)
    used: dict[str, int] = defaultdict(int)
    owners = [Owners(first.ids, _units(first, groups, used))]
    for record in records[1:]:
        more = _competing(record, owners, used)
        if more:
            owners.append(Owners(record.ids, more))
    units = [*(unit for owner in owners for unit in owner.units), *blocks]
    return Plan(
        units={unit.name: unit for unit in units},
        sealed=_sealed_dims(first.ids, labels, reasons, owners[1:]),
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        sizes=tensor_sizes(first.ids, owners),
        terms=cost_terms(records, owners, blocks),
        batch=batch,
        activations=activations(records, owners, blocks),
        uncounted=tuple(sorted(first.uncounted)),
        by_value=first.by_value,
        witnesses=_witnesses(first, owners) if first.by_value else (),
        training=first.training,
        notes=(BRANCHES,) if first.branches else (),
    )


def _competing(record: Record, owners: Sequence[Owners], used: dict[str, int]) -> list[Unit]:
    """Return the heads, or widths of heads, that a trace of higher rank found.

    They compete for channels with the units found before; sizes become products of both.
    """
    labels = _components(record.ids)
    reasons = _sealed_components(record.ids, labels)
    units = _units(record, _groups(record.ids, labels, reasons), used)
    able = [u for u in units if u.kind == "head" or any(o.in_heads(u) for o in owners)]
    return [unit for unit in able if all(owner.cross(unit) for owner in owners)]


def _components(ids: IdTable) -> Ids:
    left = np.concatenate([edge[0] for edge in ids.edges] or [np.empty(0, np.int64)])
    right = np.concatenate([edge[1] for edge in ids.edges] or [np.empty(0, np.int64)])
    graph = coo_matrix((np.ones(left.size, np.int8), (left, right)), (ids.count, ids.count))
    labels: Ids = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _sealed_components(ids: IdTable, labels: Ids) -> dict[int, str]:
    """Return the reason by component; an id no op ever met is sealed as unused."""
    reasons: dict[int, str] = {}
    for sealed, reason in ids.seals:
        for label in np.unique(labels[sealed]).tolist():
            reasons.setdefault(label, reason)
    for label in labels[~ids.met()].tolist():
        reasons.setdefault(label, UNUSED)
    return reasons


def _groups(ids: IdTable, labels: Ids, reasons: dict[int, str]) -> list[list[Ids]]:
    """Return atoms that can go one by one, grouped by unit; others get a reason."""
    groups = _atoms_by_footprint(ids, labels, reasons)
    for atoms in groups.values():
        if len(atoms) == 1:
            reasons[int(labels[atoms[0][0]])] = "can only go all together"
    return [atoms for atoms in groups.values() if len(atoms) > 1]


def _atoms_by_footprint(
    ids: IdTable, labels: Ids, reasons: Mapping[int, str]
) -> dict[Footprint, list[Ids]]:
    """Return the free components by what they own: the same slots of the same dimensions."""
    slot_of = np.repeat(np.arange(len(ids.slots)), [slot.size for slot in ids.slots])
    free = np.flatnonzero(~np.isin(labels, list(reasons)))
    order = free[np.argsort(labels[free], kind="stable")]
    groups: dict[Footprint, list[Ids]] = defaultdict(list)
    for atom in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if atom.size:
            slots, counts = np.unique(slot_of[atom], return_counts=True)
            groups[tuple(zip(slots.tolist(), counts.tolist(), strict=True))].append(atom)
    return groups


def _units(record: Record, groups: Iterable[Sequence[Ids]], used: dict[str, int]) -> list[Unit]:
    """Return one unit per group of atoms, in the order of the model's parameters.

    ``used`` counts how often a name was given, over all traces.
    """
    ids, reading = record.ids, _flags(record.ids.count, record.ids.consumed)
    heads = _flags(ids.count, record.heads)
    units: list[Unit] = []
    for group in sorted(groups, key=lambda group: int(group[0][0])):
        atoms = np.stack(group)
        parts = _slices(ids, atoms, reading)
        wide = any(part.index.shape[1] > 1 for part in parts if not part.reads)
        kind: Kind = "head" if wide and heads[atoms].any() else "channel"
        maker = next((part for part in parts if not part.reads), parts[0])
        base = maker.tensor.rpartition(".")[0] or maker.tensor
        base = f"{base}:heads" if kind == "head" else base
        used[base] += 1
        name = base if used[base] == 1 else f"{base}#{used[base]}"
        units.append(Unit(name, len(atoms), parts, kind, rank=record.rank))
    return units


def _flags(count: int, marked: Iterable[Ids]) -> np.ndarray:
    flags = np.zeros(count, bool)
    for ids in marked:
        flags[ids[ids >= 0]] = True
    return flags


def _slices(ids: IdTable, atoms: Ids, reading: np.ndarray) -> tuple[Slice, ...]:
    parts: list[Slice] = []
    starts = np.array([slot.start for slot in ids.slots])
    numbers = np.searchsorted(starts, atoms[0], side="right") - 1
    for number in np.unique(numbers).tolist():
        own, slot = atoms[:, numbers == number], ids.slots[number]
        parts.append(Slice(slot.tensor, slot.dim, own - slot.start, bool(reading[own].all())))
    return tuple(parts)


def _sealed_dims(
    ids: IdTable, labels: Ids, reasons: Mapping[int, str], others: Iterable[Owners]
) -> dict[str, str]:
    """Return why dimensions cannot be pruned, those left out that another trace freed."""
    freed = {(p.tensor, p.dim) for o in others for unit in o.units for p in unit.slices}
    sealed: dict[str, str] = {}
    for slot in ids.slots:
        own = np.unique(labels[slot.start : slot.start + slot.size]).tolist()
        why = sorted({reasons[label] for label in own if label in reasons})
        if why and (slot.tensor, slot.dim) not in freed:
            sealed[f"{slot.tensor}[{slot.dim}]"] = "; ".join(why)
    return sealed


def _witnesses(record: Record, owners: Sequence[Owners]) -> tuple[str, ...]:
    """Return the layers whose outputs vary with no unit's atoms."""
    return tuple(
        name
        for name, tracks in record.made.items()
        if all(not owner.owns(ids) for owner in owners for ids in tracks)
    )
