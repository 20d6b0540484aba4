"""The masked model: full size, but nothing reads the removed atoms. Sliced must equal masked."""

from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.surgery.adapt import adapted
from autoprune.surgery.ids import IdTable
from autoprune.surgery.left import OVER_WHAT_IS_LEFT
from autoprune.surgery.op import Op, Record
from autoprune.surgery.trace import TraceMode, start_record
from autoprune.surgery.units import Cut, Positions

_READERS = {
    "aten.addmm",
    "aten.mm",
    "aten.bmm",
    "aten.convolution",
    "aten.linalg_vector_norm",
    "aten.sum",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
}


class Masked(nn.Module):
    """Runs a model with the given positions read as zero by whatever sums over them.

    Norms that average over channels average over those that are left; blocks run, but what
    comes after them gets their input.

    Args:
        model: The model; it is not changed.
        cut: What is masked.
        rank: Rank of the trace that found the units of ``cut``.
    """

    def __init__(self, model: nn.Module, cut: Cut, rank: int = 0) -> None:
        super().__init__()
        self.model = adapted(model)
        self._cut, self._rank = cut, rank

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the masked model gives for the arguments of the model."""
        record = start_record(self.model, [args, kwargs], self._rank)
        blocks = [self.model.get_submodule(name) for name in self._cut.modules]
        hooks = [block.register_forward_hook(_input_of) for block in blocks]
        try:
            with torch.no_grad(), MaskMode(record, _flags(record.ids, self._cut.positions)):
                return self.model(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()


def _input_of(_: nn.Module, args: tuple[Any, ...], __: Any) -> Any:
    return args[0]


def _flags(ids: IdTable, removed: Positions) -> np.ndarray:
    flags = np.zeros(ids.count + 1, bool)  # the last one is for NO_ID
    for tensor, dims in removed.items():
        for dim, positions in dims.items():
            flags[ids.at(tensor, dim, positions)] = True
    return flags


class MaskMode(TraceMode):
    """Traces, and hides removed atoms from every op that would sum over them."""

    def __init__(self, record: Record, flags: np.ndarray) -> None:
        super().__init__(record)
        self.flags = flags

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one op on what the masked model would see."""
        name = str(func.overloadpacket)
        if name in _READERS:
            args = tuple(self._hide(arg) for arg in args)
            return func(*args, **{key: self._hide(value) for key, value in kwargs.items()})
        if name in OVER_WHAT_IS_LEFT:
            return OVER_WHAT_IS_LEFT[name](self, func, Op(func, args, kwargs, (), self.record))
        return func(*args, **kwargs)

    def kept(self, tensor: torch.Tensor, axis: int) -> torch.Tensor | None:
        """Return the positions along ``axis`` that are left, or None if all are."""
        track = self.record.shadow(tensor).along(axis)
        if track is None or not self.flags[track].any():
            return None
        return torch.from_numpy(np.flatnonzero(~self.flags[track.ravel()])).to(tensor.device)

    def _hide(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        for track in self.record.shadow(value).tracks:
            gone = self.flags[track]
            if gone.any():
                value = value.masked_fill(torch.from_numpy(gone).to(value.device), 0)
        return value
