"""Ops timed alone: plausible for what runs, nothing for what does not."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes import calls_onnx, calls_torch
from autoprune.cost.latency.runtimes.calls_onnx import time_onnx
from autoprune.cost.latency.runtimes.calls_torch import time_torch

Time = Callable[[Call, Target], Timing | None]
RUNTIMES: dict[str, Time] = {"pytorch": time_torch, "onnxruntime": time_onnx}
both = pytest.mark.parametrize("name", list(RUNTIMES))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights need not be cold, and medians not be sure, to be plausible."""
    monkeypatch.setattr(calls_torch, "COLD_BYTES", 2**18)
    monkeypatch.setattr(calls_onnx, "COLD_BYTES", 2**18)
    monkeypatch.setattr(calls_torch, "LIMIT_S", 0.05)


def convolution(*shapes: tuple[int, ...], **changes: Any) -> Call:
    settings: Mapping[str, Any] = {
        **{"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1},
        **{"transposed": False, "output_padding": (0, 0)},
    }
    return Call("aten.convolution", shapes, {**settings, **changes}, True)


IMAGE = (1, 32, 16, 16)
CALLS = {
    "convolution": convolution(IMAGE, (32, 32, 3, 3), (32,)),
    "without a bias": convolution(IMAGE, (32, 32, 3, 3)),
    "strided": convolution(IMAGE, (32, 32, 3, 3), (32,), stride=(2, 2)),
    "depthwise": convolution(IMAGE, (32, 1, 3, 3), (32,), groups=32),
    "grouped": convolution(IMAGE, (64, 8, 3, 3), (64,), groups=4),
    "transposed": convolution(
        IMAGE, (32, 16, 2, 2), (16,), stride=(2, 2), padding=(0, 0), transposed=True
    ),
    "linear": Call(
        "aten.addmm", ((64,), (8, 128), (128, 64)), {"alpha": 1, "beta": 1}, weight=True
    ),
    "without a bias, linear": Call("aten.mm", ((8, 128), (128, 64)), {}, weight=True),
    "attention": Call("aten.bmm", ((4, 16, 32), (4, 32, 16)), {}, weight=False),
}


@both
@pytest.mark.parametrize("kind", list(CALLS))
def test_what_runs_has_a_time(name: str, kind: str) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    timing = RUNTIMES[name](CALLS[kind], Target(name, threads=1))
    assert timing is not None
    assert 1e-7 < timing.low <= timing.seconds <= timing.high
    assert timing.seconds < 0.1
    assert timing.repeats >= 6
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@both
def test_a_hundred_times_the_work_takes_longer(name: str) -> None:
    small = convolution((1, 8, 16, 16), (8, 8, 3, 3), (8,))
    large = convolution((1, 96, 16, 16), (96, 96, 3, 3), (96,))
    one, other = (RUNTIMES[name](call, Target(name, threads=1)) for call in (small, large))
    assert one is not None
    assert other is not None
    assert other.seconds > 4 * one.seconds


@both
@pytest.mark.parametrize(
    "call",
    [
        Call("my.op", ((2, 3),), {}, False),
        Call("aten.no_such_op", ((2, 3),), {}, False),
        Call("torchvision.deform_conv2d", ((1, 3, 4, 4), (3, 3, 3, 3)), {}, True),
    ],
    ids=lambda call: call.op,
)
def test_what_cannot_run_alone_has_none(name: str, call: Call) -> None:
    assert RUNTIMES[name](call, Target(name, threads=1)) is None


def test_shapes_that_do_not_fit_have_no_time() -> None:
    assert time_torch(Call("aten.mm", ((2, 3), (4, 5)), {}, True), Target("pytorch")) is None


@pytest.mark.parametrize("kind", list(CALLS))
def test_the_onnx_op_computes_what_pytorchs_does(kind: str) -> None:
    call = CALLS[kind]
    form = calls_onnx._form(call)
    assert form is not None
    model, feed, copies = calls_onnx._model(*form, call)
    assert (copies > 1) == call.weight, "weights are cold, activations are not"
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, feed)
    assert len(found) == copies
    weights = {w.name: torch.tensor(_array(w)) for w in model.graph.initializer}
    weights |= {name: torch.tensor(value) for name, value in feed.items()}
    own = [weights[name] for name in model.graph.node[0].input]
    own = [own[2], *own[:2]] if call.op == "aten.addmm" else own  # the bias comes first there
    padding = [None] if call.op == "aten.convolution" and len(own) == 2 else []
    function = getattr(torch.ops.aten, call.op.removeprefix("aten."))
    expected = function(*own, *padding, **call.settings)
    torch.testing.assert_close(torch.tensor(found[0]), expected, atol=1e-4, rtol=1e-4)
    assert all(np.array_equal(found[0], one) for one in found)


def _array(tensor: Any) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor).copy()
