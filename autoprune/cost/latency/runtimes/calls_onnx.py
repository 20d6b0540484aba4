"""Times one op of onnxruntime alone, without what a graph of one op adds to it."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes.calls_torch import COLD_BYTES
from autoprune.cost.latency.runtimes.onnx_session import session_options

_OPSET, _IR = 18, 9
_LEAST_RUNS, _MOST_RUNS, _LEAST_S = 8, 400, 0.01
_MOST_COPIES = 16
_LAYOUT = ("ReorderInput", "ReorderOutput", "Transpose")  # between ops of a graph there are few


def time_onnx(call: Call, target: Target) -> Timing | None:
    """Return the time of one op, None if there is no ONNX op that does the same.

    It is onnxruntime's own profile of the op: to run a graph of one op takes longer, for the
    values change their layout before and after.
    """
    form = _form(call)
    if form is None:
        return None
    model, feed, copies = _model(*form, call)
    try:
        times = _profiled(model.SerializeToString(), feed, target)
    except Exception:  # onnxruntime raises kinds of its own where it has no kernel
        return None
    return Timing.of([one / copies for one in times[len(times) // 4 :]])  # the first warm up


def _profiled(model: bytes, feed: dict[str, np.ndarray], target: Target) -> list[float]:
    import onnxruntime

    with TemporaryDirectory(prefix="autoprune-") as folder:
        options = session_options(target.cores)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        start, runs = perf_counter(), 0
        while runs < _LEAST_RUNS or (perf_counter() - start < _LEAST_S and runs < _MOST_RUNS):
            session.run(None, feed)
            runs += 1
        return _times(Path(session.end_profiling()), runs)


def _times(profile: Path, runs: int) -> list[float]:
    """Return the seconds that each run spent in the op itself."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    kernels = [
        event["dur"]
        for event in events
        if event.get("cat") == "Node"
        and event["name"].endswith("_kernel_time")
        and event["args"]["op_name"] not in _LAYOUT
    ]
    # Durations are whole microseconds: half of one more is what was cut off on average.
    per_run = (np.array(kernels, float).reshape(runs, -1) + 0.5).sum(axis=1)
    return [float(us) * 1e-6 for us in per_run]


def _form(call: Call) -> tuple[str, dict[str, Any]] | None:
    """Return the ONNX op and its attributes."""
    settings = call.settings
    if call.op == "aten.convolution":
        attributes: dict[str, Any] = {
            "strides": list(settings["stride"]),
            "pads": list(settings["padding"]) * 2,
            "dilations": list(settings["dilation"]),
            "group": int(settings["groups"]),
        }
        if not settings.get("transposed"):
            return "Conv", attributes
        return "ConvTranspose", attributes | {"output_padding": list(settings["output_padding"])}
    return {
        "aten.addmm": ("Gemm", {}),
        "aten.mm": ("MatMul", {}),
        "aten.bmm": ("MatMul", {}),
    }.get(call.op)


def _model(
    op: str, attributes: dict[str, Any], call: Call
) -> tuple[Any, dict[str, np.ndarray], int]:
    """Return a model, what is fed to it, and how often it holds the op.

    It holds it so often that each finds its weights out of the cache, as in a whole model.
    """
    rng = np.random.default_rng(0)
    shapes = [*call.shapes[1:], call.shapes[0]] if op == "Gemm" else list(call.shapes)
    first, *others = [(rng.random(shape) - 0.5).astype(np.float32) for shape in shapes]
    size = sum(value.nbytes for value in others)
    copies = min(-(-COLD_BYTES // max(size, 1)), _MOST_COPIES) if call.weight else 1
    named = [{f"w{n}_{i}": value for i, value in enumerate(others)} for n in range(copies)]
    nodes = [
        helper.make_node(op, ["x", *names], [f"y{n}"], **attributes)
        for n, names in enumerate(named)
    ]
    weights = {name: value for names in named for name, value in names.items()}
    fed = {"x": first} | ({} if call.weight else weights)
    graph = helper.make_graph(
        nodes,
        "op",
        [_info(name, value.shape) for name, value in fed.items()],
        [_info(f"y{n}", [None] * first.ndim) for n in range(copies)],
        [numpy_helper.from_array(v, name) for name, v in weights.items() if name not in fed],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR), fed, copies


def _info(name: str, shape: Sequence[int | None]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
