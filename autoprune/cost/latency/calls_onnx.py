"""Times one op of onnxruntime alone, without what a graph of one op adds to it."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes.onnx_session import session_options

_OPSET, _IR = 18, 9
_LEAST_RUNS, _MOST_RUNS, _LEAST_S = 12, 400, 0.02
_LAYOUT = ("ReorderInput", "ReorderOutput", "Transpose")  # between ops of a graph there are few


def time_onnx(call: Call, target: Target) -> Timing | None:
    """Return the time of one op, None if there is no ONNX op that does the same.

    It is onnxruntime's own profile of the op: to run a graph of one op takes longer, for the
    values change their layout before and after.
    """
    node = _node(call)
    if node is None:
        return None
    import onnxruntime

    with TemporaryDirectory(prefix="autoprune-") as folder:
        options = session_options(target.cores)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        model, feed = _model(node, call)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        start, runs = perf_counter(), 0
        while runs < _LEAST_RUNS or (perf_counter() - start < _LEAST_S and runs < _MOST_RUNS):
            session.run(None, feed)
            runs += 1
        times = _times(Path(session.end_profiling()), runs)
    return Timing.of(times[len(times) // 4 :])  # the first ones warm up


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
    per_run = np.array(kernels, float).reshape(runs, -1).sum(axis=1) + 0.5
    return [float(us) * 1e-6 for us in per_run]


def _node(call: Call) -> Any:
    """Return the ONNX node for inputs ``x``, ``w`` and maybe ``b``."""
    settings, names = call.settings, ["x", "w", "b"][: len(call.shapes)]
    if call.op == "aten.convolution":
        padding = list(settings["padding"])
        attributes: dict[str, Any] = {
            "strides": list(settings["stride"]),
            "pads": padding * 2,
            "dilations": list(settings["dilation"]),
            "group": int(settings["groups"]),
        }
        if not settings.get("transposed"):
            return helper.make_node("Conv", names, ["y"], **attributes)
        attributes["output_padding"] = list(settings["output_padding"])
        return helper.make_node("ConvTranspose", names, ["y"], **attributes)
    if call.op == "aten.addmm":
        return helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    if call.op in ("aten.mm", "aten.bmm"):
        return helper.make_node("MatMul", ["x", "w"], ["y"])
    return None


def _model(node: Any, call: Call) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a model of one node, and what is fed to it."""
    rng = np.random.default_rng(0)
    bias, *rest = call.shapes if call.op == "aten.addmm" else (None, *call.shapes)
    shapes = [*rest, *([bias] if bias else [])]
    values = {
        name: (rng.random(shape) - 0.5).astype(np.float32)
        for name, shape in zip(node.input, shapes, strict=True)
    }
    constant = {name for name in values if name != "x"} if call.weight else set()
    graph = helper.make_graph(
        [node],
        "op",
        [_info(name, v.shape) for name, v in values.items() if name not in constant],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values[name], name) for name in sorted(constant)],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
    )
    onnx.checker.check_model(model)
    return model, {name: v for name, v in values.items() if name not in constant}


def _info(name: str, shape: Sequence[int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
