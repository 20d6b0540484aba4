"""From joined ids to atoms, from atoms to units."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from autoprune.surgery.ids import Ids, IdTable
from autoprune.surgery.op import MacTerm, Record
from autoprune.surgery.units import CostTerm, Factor, Plan, Slice, Unit

UNUSED = "was not used in the traced forward"
Footprint = tuple[tuple[int, int], ...]


def solve(record: Record, tensors: Mapping[str, torch.Tensor], batch: int) -> Plan:
    """Return the plan for a traced model whose batch had ``batch`` samples."""
    ids = record.ids
    labels = _components(ids)
    reasons = _sealed_components(ids, labels)
    groups = _atoms_by_footprint(ids, labels, reasons)
    for atoms in groups.values():
        if len(atoms) == 1:
            reasons[int(labels[atoms[0][0]])] = "can only go all together"
    units, owner = _units(ids, [atoms for atoms in groups.values() if len(atoms) > 1])
    return Plan(
        units={unit.name: unit for unit in units},
        sealed=_sealed_dims(ids, labels, reasons),
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        terms=tuple(_cost_term(term, owner, units) for term in record.terms),
        batch=batch,
    )


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
    met = np.zeros(ids.count, bool)
    for left, right in ids.edges:
        met[left] = met[right] = True
    for label in labels[~met].tolist():
        reasons.setdefault(label, UNUSED)
    return reasons


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


def _units(ids: IdTable, groups: Sequence[Sequence[Ids]]) -> tuple[list[Unit], Ids]:
    """Return one unit per group of atoms, and the number of each id's unit (-1: none)."""
    reading = np.zeros(ids.count, bool)
    for consumed in ids.consumed:
        reading[consumed] = True
    owner = np.full(ids.count, -1)
    units: list[Unit] = []
    used: dict[str, int] = defaultdict(int)
    for atoms in sorted(groups, key=lambda group: int(group[0][0])):
        owner[np.concatenate(atoms)] = len(units)
        units.append(_unit(ids, np.stack(atoms), reading, used))
    return units, owner


def _unit(ids: IdTable, atoms: Ids, reading: np.ndarray, used: dict[str, int]) -> Unit:
    parts: list[Slice] = []
    starts = np.array([slot.start for slot in ids.slots])
    numbers = np.searchsorted(starts, atoms[0], side="right") - 1
    for number in np.unique(numbers).tolist():
        own, slot = atoms[:, numbers == number], ids.slots[number]
        parts.append(Slice(slot.tensor, slot.dim, own - slot.start, bool(reading[own].all())))
    maker = next((part for part in parts if not part.reads), parts[0])
    base = maker.tensor.rpartition(".")[0] or maker.tensor
    used[base] += 1
    name = base if used[base] == 1 else f"{base}#{used[base]}"
    return Unit(name, len(atoms), tuple(parts))


def _sealed_dims(ids: IdTable, labels: Ids, reasons: Mapping[int, str]) -> dict[str, str]:
    sealed: dict[str, str] = {}
    for slot in ids.slots:
        own = np.unique(labels[slot.start : slot.start + slot.size]).tolist()
        why = sorted({reasons[label] for label in own if label in reasons})
        if why:
            sealed[f"{slot.tensor}[{slot.dim}]"] = "; ".join(why)
    return sealed


def _cost_term(term: MacTerm, owner: Ids, units: Sequence[Unit]) -> CostTerm:
    factors: list[Factor] = []
    coefficient = term.dense
    for ids in term.factors:
        numbers, counts = np.unique(np.where(ids < 0, -1, owner[ids]), return_counts=True)
        share = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        fixed = share.pop(-1, 0)
        if share:
            coefficient //= ids.size
            per_unit = {units[n].name: c // units[n].atoms for n, c in share.items()}
            factors.append(Factor(fixed, per_unit))
    return CostTerm(term.op, coefficient, tuple(factors))
