"""What the results of the benchmark of tasks come to."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.tasks.searching import FILES
from benchmarks.work import Results

ARMS = {"pruned": "budgeted", "uniform": "uniform"}


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    Of each task ``dense``, ``pruned``, ``uniform``: the metric on the test split, means over
    seeds, each with its standard deviation ``_sd``; ``macs_share`` of the pruned models.
    ``onnx.NAME``: the largest difference of a pruned model's outputs in onnxruntime, relative to
    the largest output.
    """
    searches = results.get("search", {})
    found: dict[str, Any] = {}
    for task in FILES:
        arms = {
            arm: [
                facts
                for name, facts in sorted(searches.items())
                if name.startswith(f"{task}.{sampler}.") and "pruned" in facts
            ]
            for arm, sampler in ARMS.items()
        }
        found |= _summed(f"{task}.dense", [one["dense"] for one in arms["pruned"]])
        for arm, own in arms.items():
            found |= _summed(f"{task}.{arm}", [one["pruned"] for one in own])
        found |= _summed(f"{task}.macs_share", [one["macs_share"] for one in arms["pruned"]])
        found[f"{task}.seeds"] = len(arms["pruned"])
    exports = results.get("export", {})
    return found | {f"onnx.{name}": _difference(facts) for name, facts in exports.items()}


def _summed(name: str, values: list[float]) -> dict[str, float | None]:
    if not values:
        return {name: None, f"{name}_sd": None}
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {name: float(np.mean(values)), f"{name}_sd": spread}


def _difference(facts: Mapping[str, Any]) -> float | None:
    return facts.get("difference")
