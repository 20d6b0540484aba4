"""Runtimes: what runs a model whose latency is measured; a file each."""

from autoprune.cost.latency.runtimes import cuda, onnx_runtime, pytorch, torch_compile
from autoprune.cost.latency.runtimes.base import (
    RUNTIMES,
    Runtime,
    Session,
    check_measurable,
    find_runtime,
)

__all__ = [
    "RUNTIMES",
    "Runtime",
    "Session",
    "check_measurable",
    "cuda",
    "find_runtime",
    "onnx_runtime",
    "pytorch",
    "torch_compile",
]
