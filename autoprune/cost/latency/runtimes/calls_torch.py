"""Times one op of PyTorch alone."""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import torch

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes.torch_session import TorchSession, threads_restored
from autoprune.cost.latency.timing import measure

PRECISION, LIMIT_S = 0.03, 0.5
COLD_BYTES, MOST_COPIES = 2**26, 64


def time_torch(
    call: Call,
    target: Target,
    device: torch.device | None = None,
    wait: Callable[[], object] = lambda: None,
) -> Timing | None:
    """Return the time of one op, None if it cannot be run alone.

    Args:
        call: The op and the shapes it is run with; values are random.
        target: Gives type, layout and threads.
        device: Where it runs; None for the CPU.
        wait: Waits until the device has done what it was given.
    """
    function = getattr(torch.ops.aten, call.op.removeprefix("aten."), None)
    if function is None:
        return None
    with threads_restored():
        try:
            session = _session(function, call, target, device, wait)
            session.run()
        except (RuntimeError, TypeError, NotImplementedError):  # memory that runs out among them
            return None
        return measure(session, precision=PRECISION, limit_s=LIMIT_S, warm_s=0.005)


def _session(
    function: Callable[..., Any],
    call: Call,
    target: Target,
    device: torch.device | None,
    wait: Callable[[], object],
) -> TorchSession:
    first, *others = (_tensor(shape, target, device) for shape in call.shapes)
    padding = [None] if call.op == "aten.convolution" and len(others) == 1 else []  # no bias
    settings = dict(call.settings)
    copies = cycle(_copies(others) if call.weight else [others])

    def run(x: torch.Tensor) -> Any:
        return function(x, *next(copies), *padding, **settings)

    return TorchSession(run, [first], target.cores, wait)


def _copies(weights: Sequence[torch.Tensor]) -> list[Sequence[torch.Tensor]]:
    """Return weights so often that each use finds them out of the cache, as in a whole model."""
    size = sum(weight.nbytes for weight in weights)
    count = min(-(-COLD_BYTES // max(size, 1)), MOST_COPIES)
    return [weights, *([w.clone() for w in weights] for _ in range(count - 1))]


def _tensor(shape: tuple[int, ...], target: Target, device: torch.device | None) -> torch.Tensor:
    found = torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 0.5
    found = found.to(device=device, dtype=getattr(torch, target.dtype))
    wide = target.channels_last and found.dim() == 4
    return found.contiguous(memory_format=torch.channels_last) if wide else found
