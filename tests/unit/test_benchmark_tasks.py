"""The benchmark of tasks: its figures, and the files it searches."""

import pytest

from autoprune.execution.config import load_search_file
from benchmarks.tasks.__main__ import tasks
from benchmarks.tasks.figures import figures
from benchmarks.tasks.searching import FILES


def test_figures_are_means_over_seeds_with_their_spread() -> None:
    def facts(pruned: float) -> dict[str, float]:
        return {"dense": 0.7, "pruned": pruned, "macs_share": 0.5}

    found = figures(
        {
            "search": {
                "detection.budgeted.0": facts(0.6),
                "detection.budgeted.1": facts(0.5),
                "detection.uniform.0": facts(0.4),
                "detection.uniform.1": {"stage": 1.0},  # it failed on the way
            },
            "export": {"ssdlite": {"difference": 1e-6}, "lraspp": {}},
        }
    )
    assert found["detection.pruned"] == pytest.approx(0.55)
    assert found["detection.pruned_sd"] == pytest.approx(0.0707, abs=1e-4)
    assert (found["detection.uniform"], found["detection.uniform_sd"]) == (0.4, None)
    assert (found["detection.seeds"], found["segmentation.pruned"]) == (2, None)
    assert (found["onnx.ssdlite"], found["onnx.lraspp"]) == (1e-6, None)


def test_every_task_has_both_arms_and_a_file_at_half_the_macs() -> None:
    names = {task.name for task in tasks(quick=False) if task.kind == "search"}
    assert names == {f"{t}.{arm}.{seed}" for t in FILES for arm in ("budgeted", "uniform")
                     for seed in range(3)}  # fmt: skip
    for path in FILES.values():
        assert str(load_search_file(path).budget) == "macs=50%"
