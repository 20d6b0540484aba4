"""Where two models look: attention maps of hidden layers, and how far they are apart."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

Hidden = Mapping[str, Tensor]


@contextmanager
def watching(model: nn.Module, names: Iterable[str] | None = None) -> Iterator[Hidden]:
    """Yield what gathers the tensors that modules return while the block runs, the last ones last.

    Args:
        model: The model.
        names: Which modules; None for all but the model itself. Those it lacks are left out.
    """
    seen: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    chosen = set(modules) - {""} if names is None else set(names) & modules.keys()

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        seen.pop(name, None)
        if isinstance(output, Tensor):
            seen[name] = output

    handles = [modules[n].register_forward_hook(partial(note, n)) for n in sorted(chosen)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def channel_axis(ours: torch.Size, dense: torch.Size) -> int | None:
    """Return the axis of the channels, in which alone two outputs may differ; None if none can be.

    Where both are alike it is the usual one: the second of four, the last of three.
    """
    if len(ours) != len(dense) or len(dense) not in (3, 4, 5) or ours[0] != dense[0]:
        return None
    differing = [axis for axis, (a, b) in enumerate(zip(ours, dense, strict=True)) if a != b]
    axis = differing[0] if differing else 2 if len(dense) == 3 else 1
    positions = dense.numel() // max(dense[0] * dense[axis], 1)
    return axis if len(differing) <= 1 and positions > 1 else None


def last_of_each_size(ours: Hidden, dense: Hidden) -> list[str]:
    """Return, for each size of maps, the last module whose outputs can be compared."""
    last: dict[tuple[int, ...], str] = {}
    for name, output in dense.items():
        axis = channel_axis(ours[name].shape, output.shape) if name in ours else None
        if axis is not None and output.is_floating_point():
            last[(*output.shape[:axis], *output.shape[axis + 1 :])] = name
    return list(last.values())


def attention_distance(ours: Tensor, dense: Tensor) -> Tensor:
    """Return the squared distance of two outputs' attention maps, mean over the samples.

    The map is the mean square over the channels, normalised to length 1, so the number of
    channels may differ (Zagoruyko and Komodakis 2017, arXiv:1612.03928; there the mean over
    positions is taken, here the sum).

    Args:
        ours: What a module of the candidate returns; gradients flow through it.
        dense: What the same module of the dense model returns; alike but for the channels.

    Returns:
        A scalar in ``[0, 2]``.
    """
    axis = channel_axis(ours.shape, dense.shape)
    assert axis is not None
    one, other = (
        normalize(hidden.float().square().mean(axis).flatten(1), dim=1) for hidden in (ours, dense)
    )
    return (one - other).square().sum(1).mean()
