"""How sizes and multiply-adds follow from the atoms kept of each unit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from math import gcd

import numpy as np

from autoprune.surgery.activations import Needed, aligned, same_memory
from autoprune.surgery.ids import Ids, IdTable
from autoprune.surgery.op import MacTerm, Operand, Record
from autoprune.surgery.plan import Activation, CostTerm, Factor, Product, present
from autoprune.surgery.units import Unit, inside

_CHAIN = 6  # blocks in a row up to which their memory is exact; beyond, it is an upper bound


class Owners:
    """Which unit and which of its atoms owns each id; the units of one trace are disjoint.

    Args:
        ids: The id table.
        units: Units found by one trace.
    """

    def __init__(self, ids: IdTable, units: Sequence[Unit]) -> None:
        self.ids, self.units = ids, units
        self.unit = np.full(ids.count + 1, -1)  # the last one is for NO_ID, which is -1
        self.atom = np.full(ids.count + 1, -1)
        for number, unit in enumerate(units):
            for part in unit.slices:
                at = ids.at(part.tensor, part.dim, part.index)
                self.unit[at] = number
                self.atom[at] = np.arange(unit.atoms)[:, None]

    def owns(self, ids: Ids) -> bool:
        """Tell whether any of ``ids`` belongs to a unit."""
        return bool((self.unit[ids] >= 0).any())

    def in_heads(self, other: Unit) -> bool:
        """Tell whether all that makes the atoms of ``other`` belongs to heads."""
        at = [self.ids.at(p.tensor, p.dim, p.index).ravel() for p in other.makers]
        owner = self.unit[np.concatenate(at)] if at else np.array([-1])
        return all(n >= 0 and self.units[n].kind == "head" for n in np.unique(owner))

    def cross(self, other: Unit) -> bool:
        """Tell whether every atom of ``other`` meets each atom of a unit here equally often.

        Only then are sizes products of the atoms kept of both.
        """
        for part in other.slices:
            at = self.ids.at(part.tensor, part.dim, part.index)
            rows = np.broadcast_to(np.arange(other.atoms)[:, None], at.shape)
            for number in np.unique(self.unit[at][self.unit[at] >= 0]):
                mine = self.unit[at] == number
                table = np.zeros((other.atoms, self.units[number].atoms), int)
                np.add.at(table, (rows[mine], self.atom[at][mine]), 1)
                if len(np.unique(table)) > 1:
                    return False
        return True

    def complete(self, ids: Ids) -> Ids:
        """Return the number of the unit that owns each id, -1 if some of its atoms are missing.

        A line of ids along an axis that was settled on stands for its unit alone, with one
        atom of whatever competes for the same channels.
        """
        found = self.unit[ids]
        for number in np.unique(found[found >= 0]):
            mine = found == number
            if len(np.unique(self.atom[ids][mine])) < self.units[number].atoms:
                found = np.where(mine, -1, found)
        return found


def factor(ids: Ids, owners: Sequence[Owners]) -> Factor:
    """Return how many of ``ids`` are left as a function of the atoms kept."""
    numbers = np.stack([owner.complete(ids) for owner in owners], axis=1)
    fixed, parts = 0, dict[Product, int]()
    for row, count in zip(*np.unique(numbers, axis=0, return_counts=True), strict=True):
        units = [o.units[n] for o, n in zip(owners, row, strict=True) if n >= 0]
        if units:
            atoms = int(np.prod([unit.atoms for unit in units]))
            parts[tuple(unit.name for unit in units)] = int(count) // atoms
        else:
            fixed += int(count)
    return Factor(fixed, parts)


def tensor_sizes(ids: IdTable, owners: Sequence[Owners]) -> dict[str, dict[int, Factor]]:
    """Return the size of each dimension that some unit shrinks, by tensor, by dimension."""
    sizes: dict[str, dict[int, Factor]] = {}
    for slot in ids.slots:
        own = np.arange(slot.start, slot.start + slot.size)
        if any(owner.owns(own) for owner in owners):
            sizes.setdefault(slot.tensor, {})[slot.dim] = factor(own, owners)
    return sizes


def cost_terms(
    records: Sequence[Record], owners: Sequence[Owners], blocks: Sequence[Unit]
) -> tuple[CostTerm, ...]:
    """Return the multiply-adds of the ops that the first trace ran."""
    found = []
    for ranks in aligned([record.terms for record in records], _same_op):
        most = max(map(len, ranks))
        parts = zip(*(terms for terms in ranks if len(terms) == most), strict=True)
        found += [_cost_term(same, owners, blocks) for same in parts]
    return tuple(found)


def _same_op(one: Sequence[MacTerm], other: Sequence[MacTerm]) -> bool:
    """Tell whether two traces ran the same op; a rank whose rule did not fit knows no parts."""
    left, right = one[0], other[0]
    alike = (left.op, left.module, left.weight) == (right.op, right.module, right.weight)
    return alike and sum(term.dense for term in one) == sum(term.dense for term in other)


def _cost_term(
    same: Sequence[MacTerm], owners: Sequence[Owners], blocks: Sequence[Unit]
) -> CostTerm:
    first = same[0]
    coefficient, factors = _product(first.dense, [term.factors for term in same], owners)
    around = [unit.name for unit in blocks if inside(first.module, unit.members[0])]
    shapes = (tuple(rank) for rank in zip(*(term.operands for term in same), strict=True))
    return CostTerm(
        op=first.op,
        coefficient=coefficient,
        factors=(*factors, *map(present, around)),
        weight=first.weight,
        operands=tuple(_shape(operand, owners) for operand in shapes),
        settings=first.settings,
        blocks=tuple(around),
        module=first.module,
    )


def _any_present(blocks: Sequence[str]) -> Factor:
    """Return what is 1 if any of some blocks is there: one minus the product of those gone."""
    counts = range(1, len(blocks) + 1)
    groups = (group for count in counts for group in combinations(blocks, count))
    return Factor(0, {group: 1 if len(group) % 2 else -1 for group in groups})


def _product(
    dense: int, ranks: Iterable[Sequence[Ids]], owners: Sequence[Owners]
) -> tuple[int, list[Factor]]:
    """Return a coefficient and factors whose product is ``dense`` if nothing is removed.

    Ranks that tell the same line tell it once; a line that one rank tells twice counts twice, as
    in attention among channels, whose rows and columns are the same.
    """
    factors, counts = [], Counter[bytes]()
    for lines in ranks:
        counts |= Counter(ids.tobytes() for ids in lines)
    for text in counts.elements():
        ids = np.frombuffer(text, np.int64)
        found = factor(ids, owners)
        if found.parts:
            found, divisor = _reduced(found, ids.size)
            dense //= divisor
            factors.append(found)
    return dense, factors


def _shape(ranks: Sequence[Operand], owners: Sequence[Owners]) -> tuple[Factor, ...]:
    """Return the size of each axis of a tensor, from the first rank that tells it."""
    found = []
    for axis in zip(*ranks, strict=True):
        known = [factor(ids, owners) for _, ids in axis if ids is not None]
        moving = [size for size in known if size.parts]
        found.append(moving[0] if moving else Factor(axis[0][0], {}))
    return tuple(found)


def activations(
    records: Sequence[Record], owners: Sequence[Owners], blocks: Sequence[Unit]
) -> tuple[Activation, ...]:
    """Return the memory of the traced forward; traces of all ranks take the same pieces."""
    names = {unit.members[0]: unit.name for unit in blocks}
    pieces = [list(record.activations.split(names)) for record in records]
    return tuple(_activation(same, owners, blocks) for same in aligned(pieces, same_memory))


def _activation(
    same: Sequence[Needed], owners: Sequence[Owners], blocks: Sequence[Unit]
) -> Activation:
    first, needs = same[0]
    coefficient, factors = _product(first.size, [made.lines for made, _ in same], owners)
    around = [unit.name for unit in blocks if inside(first.module, unit.members[0])]
    factors += [present(block) for block in around]
    if 0 < len(needs) <= _CHAIN:
        factors.append(_any_present(needs))
    return Activation(
        first.op, coefficient, tuple(factors), first.first, first.last, first.prolonged
    )


def _reduced(found: Factor, size: int) -> tuple[Factor, int]:
    """Return the factor over ``size`` in lowest terms."""
    shared = gcd(size, found.fixed, *found.parts.values())
    parts = {units: count // shared for units, count in found.parts.items()}
    return Factor(found.fixed // shared, parts), size // shared
