"""The cost model: what any policy costs, from the plan alone, thousands of them at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from autoprune.core.arrays import Floats
from autoprune.core.costs import EXACT, LATENCY, Costs, part_of
from autoprune.cost.file_size import FileSize
from autoprune.cost.memory import PeakMemory
from autoprune.cost.products import Factors, Products
from autoprune.cost.sparse import Density, Patterns
from autoprune.surgery.accept import unwrapped
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Factor, Kept, Plan, present
from autoprune.surgery.sparse import input_dim
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import inside

_CHUNK = 512  # policies at a time: the arrays stay in the cache


class Latency(Protocol):
    """What tells the latency of policies on one target."""

    def __call__(self, kept: Ids) -> Floats:
        """Return milliseconds by policy, from ``policies x units`` atoms kept."""


class CostModel:
    """Prices policies given as atoms kept per unit; a unit that is absent is whole.

    Args:
        model: The dense model; only shapes and types are kept.
        plan: Its plan.
        latencies: What tells the latency, by target.
        density: Share of elements that are not zero in the dense model already, by parameter.
        parts: Costs of single modules that are told as well: ``macs@visual``, ``params@text``.
        patterns: Each N:M that may be chosen, by unit: its shorter last groups stay whole.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        latencies: Mapping[str, Latency] | None = None,
        density: Mapping[str, float] | None = None,
        parts: Iterable[str] = (),
        patterns: Mapping[str, Patterns] | None = None,
    ) -> None:
        model = unwrapped(model)
        self.plan, self.latencies = plan, dict(latencies or {})
        self.units = list(plan.atoms)
        self._column = {unit: number for number, unit in enumerate(self.units)}
        self._atoms = np.array(list(plan.atoms.values()), np.int64)
        self._blocks = _blocks(plan)
        self._factors = factors = Factors(self.units)
        shapes = {name: self._shape(name) for name in plan.shapes}
        here = {name: [present(unit) for unit in self._blocks[name]] for name in shapes}
        names = [name for name, _ in model.named_parameters()]
        own = [(1, (*shapes[name], *here[name])) for name in names]
        self._params = Products(factors, own)
        self._macs = Products(factors, [(t.coefficient, t.factors) for t in plan.terms])
        self._memory = PeakMemory(factors, plan.activations)
        tensors = state_tensors(model)
        saved = {name: shapes[name] for name in tensors.keys() & model.state_dict().keys()}
        dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
        self._file = FileSize(factors, saved, here, dtypes)
        single = {name for unit in plan.weights.values() for name in unit.members}
        before = {name: share for name, share in (density or {}).items() if name in shapes}
        self._density = Density(
            factors,
            plan,
            self.units,
            {name: (*shapes[name], *here[name]) for name in {*single, *before}},
            {name: input_dim(model, name) for name in single},
            dtypes,
            self._file.names,
            before,
            patterns or {},
        )
        where = {"macs": [term.module for term in plan.terms], "params": names}
        self._parts = {cost: _within(where, cost) for cost in parts}
        self.dense = self.price({})

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Ops that compute but are not counted: ``macs`` are a lower bound if there are any."""
        return self.plan.uncounted

    def price(self, kept: Kept) -> Costs:
        """Return the costs of the model that keeps ``kept`` atoms of each unit.

        All are exact but ``latency``, and ``sparse_macs`` and ``sparse_size`` in two cases. A unit
        over several tensors without a pattern is taken to take alike of each. Where two units
        set weights of a tensor to zero, or one may be N:M or not, they are upper bounds.
        """
        found = {name: column[0] for name, column in self.price_many(self.row(kept)).items()}
        exact = {name: int(found[name]) for name in EXACT}
        latency = {target: float(found[LATENCY + target]) for target in self.latencies}
        parts = {name: int(found[name]) for name in self._parts}
        return Costs(**exact, latency=latency, parts=parts)

    def row(self, kept: Kept) -> Ids:
        """Return a policy as the one row of an argument of `price_many`."""
        row = self._atoms[None].copy()
        for unit, count in kept.items():
            row[0, self.column(unit)] = count
        return row

    def column(self, unit: str) -> int:
        """Return the column of a unit in the rows of `price_many`."""
        return self._column[unit]

    def price_many(self, kept: Ids) -> dict[str, npt.NDArray[np.int64 | np.float64]]:
        """Return the costs of many policies by name.

        Args:
            kept: Atoms kept, ``policies x units``, in the order of ``units``.
        """
        parts = [self._chunk(kept[at : at + _CHUNK]) for at in range(0, len(kept), _CHUNK)]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return found | {LATENCY + target: ms(kept) for target, ms in self.latencies.items()}

    def _chunk(self, kept: Ids) -> dict[str, Ids]:
        sizes, batch = self._factors.values(kept), self.plan.batch
        macs, data = self._macs.values(sizes), self._file.data(sizes)
        total, params = self._file.total(sizes, data), self._params.values(sizes)
        by_kind = {"macs": (macs, batch), "params": (params, 1)}
        left = self._density.shares(sizes, kept)
        return {
            "macs": macs.sum(axis=1) // batch,
            "params": params.sum(axis=1),
            "size": total,
            "memory": self._memory.values(sizes) // batch,
            "sparse_macs": self._density.macs(macs, left) // batch,
            "sparse_size": total - self._density.saved(data, left),
            **{
                cost: by_kind[kind][0][:, at].sum(axis=1) // by_kind[kind][1]
                for cost, (kind, at) in self._parts.items()
            },
        }

    def shapes(self, kept: Kept) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of the model that keeps ``kept``."""
        whole = {**self.plan.atoms, **kept}
        return {
            name: tuple(size.value(whole) for size in self._shape(name))
            for name in self.plan.shapes
            if all(whole[block] for block in self._blocks[name])
        }

    def _shape(self, tensor: str) -> Sequence[Factor]:
        changing = self.plan.sizes.get(tensor, {})
        return [
            changing.get(dim, Factor(size, {}))
            for dim, size in enumerate(self.plan.shapes[tensor])
        ]


def _within(where: Mapping[str, Sequence[str]], cost: str) -> tuple[str, Ids]:
    """Return the kind of a cost, and which of its summands lie in the module it is of."""
    found = part_of(cost)
    assert found is not None
    kind, module = found
    return kind, np.flatnonzero([inside(name, module) for name in where[kind]])


def _blocks(plan: Plan) -> dict[str, list[str]]:
    """Return the blocks that each tensor goes with."""
    blocks = plan.of("block").values()
    return {
        name: [unit.name for unit in blocks if inside(name, unit.members[0])]
        for name in plan.shapes
    }
