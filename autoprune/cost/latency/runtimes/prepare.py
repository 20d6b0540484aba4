"""Model and inputs as a target asks for them."""

from collections.abc import Sequence

import torch
from torch import nn

from autoprune.core.target import Target
from autoprune.errors import ModelError
from autoprune.surgery.nested import Inputs, describe, listed, map_tensors, tensors_in
from autoprune.surgery.tensors import copied, state_tensors


def batched(inputs: Inputs, batch: int) -> Inputs:
    """Return ``inputs`` with ``batch`` samples, repeated in order or cut.

    Args:
        inputs: Arguments of one forward: a list of samples, or tensors whose first dimension
            counts samples.
        batch: Samples asked for.

    Raises:
        ModelError: If the tensors do not have a first dimension in common, or are nested.
    """
    samples = listed(inputs)
    if samples:
        return ([samples[number % len(samples)].detach() for number in range(batch)],)
    values = inputs if isinstance(inputs, Sequence) else list(inputs.values())
    tensors = list(tensors_in(inputs))
    sizes = {tuple(x.shape[:1]) for x in tensors}
    if len(sizes) != 1 or not all(size and size[0] for size in sizes):
        raise ModelError(
            "For latency, samples must be counted by the first dimension of every input. "
            f"Got {describe(inputs)}."
        )
    if sum(isinstance(value, torch.Tensor) for value in values) != len(tensors):
        kinds = ", ".join(type(value).__name__ for value in values)
        raise ModelError(
            "For latency, every argument of the forward must be a tensor, or its only one a list "
            f"of them: what is in dicts and dataclasses cannot be batched. Got {kinds}."
        )
    index = torch.arange(batch) % next(iter(sizes))[0]
    found: Inputs = map_tensors(lambda x: x.detach().index_select(0, index), inputs)
    return found


def prepared(
    model: nn.Module, inputs: Inputs, target: Target, device: torch.device | None = None
) -> tuple[nn.Module, Inputs]:
    """Return a copy of the model in eval mode and the inputs, both as a target asks for them.

    Args:
        model: A model on any device.
        inputs: Arguments of one forward.
        target: Gives batch, type and layout.
        device: Where both go; None for the CPU.

    Raises:
        ModelError: If the model cannot be copied or the inputs cannot be batched.
    """
    dtype: torch.dtype = getattr(torch, target.dtype)

    def convert(x: torch.Tensor) -> torch.Tensor:
        moved = x.to(device=device or "cpu", dtype=dtype if x.is_floating_point() else None)
        wide = target.channels_last and moved.dim() == 4
        return moved.contiguous(memory_format=torch.channels_last) if wide else moved

    batch = batched(inputs, target.batch)
    twin = copied(model).eval()
    for tensor in state_tensors(twin).values():
        tensor.data = convert(tensor.data)
    return twin, map_tensors(convert, batch)
