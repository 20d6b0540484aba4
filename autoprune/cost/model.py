"""The cost model: MACs, params and file size of any policy from the plan alone."""

import json
from collections.abc import Mapping
from math import prod

import torch
from torch import nn

from autoprune.core.costs import Costs
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import CostTerm, Plan

Kept = Mapping[str, int]

# Names of types in a safetensors file, in the order in which it lays them out from the end.
_DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float32: "F32",
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}
_ORDER = {dtype: rank for rank, dtype in enumerate(_DTYPES)}


class CostModel:
    """Prices policies given as atoms kept per unit; a unit that is absent is whole.

    Args:
        model: The dense model; only shapes and types are kept.
        plan: Its plan.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self._plan = plan
        parameters = dict(model.named_parameters())
        self._parameters = frozenset(parameters)
        self._dtypes = {name: tensor.dtype for name, tensor in state_tensors(model).items()}
        self._saved = frozenset(model.state_dict()) & frozenset(self._dtypes)
        self._loss: dict[str, dict[int, dict[str, int]]] = {}
        for unit in plan.units.values():
            for part in unit.slices:
                dims = self._loss.setdefault(part.tensor, {})
                dims.setdefault(part.dim, {})[unit.name] = part.index.shape[1]
        self.dense = self.price({})

    def price(self, kept: Kept) -> Costs:
        """Return the exact costs of the model that keeps ``kept`` atoms of each unit."""
        shapes = self.shapes(kept)
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        return Costs(
            macs=sum(self._macs(term, kept) for term in self._plan.terms) // self._plan.batch,
            params=sum(sizes[name] for name in self._parameters),
            size=self._file_size(shapes),
        )

    def shapes(self, kept: Kept) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of the model that keeps ``kept``."""
        return {name: self._shape(name, kept) for name in self._plan.shapes}

    def _shape(self, tensor: str, kept: Kept) -> tuple[int, ...]:
        shape = list(self._plan.shapes[tensor])
        for dim, per_unit in self._loss.get(tensor, {}).items():
            for unit, per_atom in per_unit.items():
                shape[dim] -= per_atom * (self._atoms(unit) - kept.get(unit, self._atoms(unit)))
        return tuple(shape)

    def _atoms(self, unit: str) -> int:
        return self._plan.units[unit].atoms

    def _macs(self, term: CostTerm, kept: Kept) -> int:
        macs = term.coefficient
        for factor in term.factors:
            per_unit = factor.per_unit.items()
            macs *= factor.fixed + sum(n * kept.get(u, self._atoms(u)) for u, n in per_unit)
        return macs

    def _file_size(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the bytes of the safetensors file: length, JSON header padded to 8, data."""
        header: dict[str, object] = {}
        offset = 0
        for name in sorted(self._saved, key=lambda n: (-_ORDER[self._dtypes[n]], n)):
            size = prod(shapes[name]) * self._dtypes[name].itemsize
            header[name] = {
                "dtype": _DTYPES[self._dtypes[name]],
                "shape": list(shapes[name]),
                "data_offsets": [offset, offset + size],
            }
            offset += size
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
        return 8 + -(-len(text.encode()) // 8) * 8 + offset
