"""The bytes of a safetensors file, from the sizes of its tensors."""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from autoprune.cost.products import Factors, Products, digits
from autoprune.errors import ModelError
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Factor

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


class FileSize:
    """Counts the file of the tensors that are left: length, JSON header padded to 8, data.

    Args:
        factors: Where sizes are evaluated.
        shapes: Size of each dimension, by tensor.
        present: What is 1 if the tensor is there and 0 if not, by tensor.
        dtypes: Type by tensor.

    Raises:
        ModelError: If a type is none of a safetensors file.
    """

    def __init__(
        self,
        factors: Factors,
        shapes: Mapping[str, Sequence[Factor]],
        present: Mapping[str, Sequence[Factor]],
        dtypes: Mapping[str, torch.dtype],
    ) -> None:
        _check_types(dtypes[name] for name in shapes)
        self.names = sorted(shapes, key=lambda n: (-_ORDER[dtypes[n]], n))
        self._present = Products(factors, [(1, present[name]) for name in self.names])
        sizes = [(dtypes[n].itemsize, (*shapes[n], *present[n])) for n in self.names]
        self._bytes = Products(factors, sizes)
        self._axes = [[factors.number(size) for size in shapes[n]] for n in self.names]
        self._fixed = np.array([_fixed(n, dtypes[n], len(shapes[n])) for n in self.names])

    def data(self, sizes: Ids) -> Ids:
        """Return the bytes of each tensor's data, ``policies x tensors``."""
        return self._bytes.values(sizes)

    def total(self, sizes: Ids, data: Ids) -> Ids:
        """Return the bytes of the whole file by policy, ``data`` being those of each tensor."""
        there = self._present.values(sizes)
        ends = data.cumsum(axis=1)
        lengths = digits(sizes)
        axes = np.zeros_like(data)
        for tensor, own in enumerate(self._axes):
            axes[:, tensor] = lengths[:, own].sum(axis=1)
        entries = self._fixed + axes + digits(ends) + digits(ends - data)
        count = there.sum(axis=1)
        text = 2 + (entries * there).sum(axis=1) + np.maximum(count - 1, 0)
        whole: Ids = 8 + -(-text // 8) * 8 + data.sum(axis=1)
        return whole


def _check_types(dtypes: Iterable[torch.dtype]) -> None:
    odd = sorted({str(dtype) for dtype in dtypes if dtype not in _ORDER})
    if odd:
        raise ModelError(
            f"The model holds tensors of type {', '.join(odd)}, which a safetensors file cannot. "
            "Keep them in another type, such as torch.complex64, or register the buffers with "
            "persistent=False."
        )


def _fixed(name: str, dtype: torch.dtype, ndim: int) -> int:
    """Return the bytes of an entry of the header without the digits of its numbers."""
    entry = {name: {"dtype": _DTYPES[dtype], "shape": [0] * ndim, "data_offsets": [0, 0]}}
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode()) - len("{}") - ndim - 2
