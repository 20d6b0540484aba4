"""The cost model: MACs, params and file size of any policy from the plan alone."""

import json
from collections.abc import Mapping
from math import prod

import torch
from torch import nn

from autoprune.core.costs import Costs
from autoprune.surgery.accept import unwrapped
from autoprune.surgery.plan import CostTerm, Kept, Plan
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import inside

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


def _macs(term: CostTerm, kept: Kept) -> int:
    return term.coefficient * prod(factor.value(kept) for factor in term.factors)


class CostModel:
    """Prices policies given as atoms kept per unit; a unit that is absent is whole.

    Args:
        model: The dense model; only shapes and types are kept.
        plan: Its plan.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        model = unwrapped(model)
        self._plan = plan
        parameters = dict(model.named_parameters())
        self._parameters = frozenset(parameters)
        self._dtypes = {name: tensor.dtype for name, tensor in state_tensors(model).items()}
        self._saved = frozenset(model.state_dict()) & frozenset(self._dtypes)
        blocks = plan.of("block").values()
        self._blocks = {
            name: [unit.name for unit in blocks if inside(name, unit.members[0])]
            for name in self._dtypes
        }
        self._whole = {name: unit.atoms for name, unit in plan.units.items()}
        self.dense = self.price({})

    def price(self, kept: Kept) -> Costs:
        """Return the exact costs of the model that keeps ``kept`` atoms of each unit."""
        shapes = self.shapes(kept)
        whole = {**self._whole, **kept}
        return Costs(
            macs=sum(_macs(term, whole) for term in self._plan.terms) // self._plan.batch,
            params=sum(prod(shapes[name]) for name in self._parameters & shapes.keys()),
            size=self._file_size(shapes),
        )

    def shapes(self, kept: Kept) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of the model that keeps ``kept``."""
        whole = {**self._whole, **kept}
        return {
            name: self._shape(name, whole)
            for name in self._plan.shapes
            if all(whole[block] for block in self._blocks[name])
        }

    def _shape(self, tensor: str, kept: Kept) -> tuple[int, ...]:
        shape = list(self._plan.shapes[tensor])
        for dim, size in self._plan.sizes.get(tensor, {}).items():
            shape[dim] = size.value(kept)
        return tuple(shape)

    def _file_size(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the bytes of the safetensors file: length, JSON header padded to 8, data."""
        header: dict[str, object] = {}
        offset = 0
        saved = self._saved & shapes.keys()
        for name in sorted(saved, key=lambda n: (-_ORDER[self._dtypes[n]], n)):
            size = prod(shapes[name]) * self._dtypes[name].itemsize
            header[name] = {
                "dtype": _DTYPES[self._dtypes[name]],
                "shape": list(shapes[name]),
                "data_offsets": [offset, offset + size],
            }
            offset += size
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
        return 8 + -(-len(text.encode()) // 8) * 8 + offset
