"""Correlations and figures of hand-made results."""

from typing import Any

import numpy as np
import pytest

from benchmarks.networks import NETWORKS
from benchmarks.proxy.__main__ import FULL, STEPS, default, figures, groups_of, table, tasks
from benchmarks.proxy.correlation import interval, spearman
from benchmarks.work import Results


def test_ranks_correlate_as_worked_out_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # d = 0, 1, -1, 0: 1 - 6 * 2 / (4 * 15)
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_the_interval_holds_the_truth_and_is_narrow_where_there_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=40)
    noisy = [(one.tolist(), (one + rng.normal(size=40)).tolist()) for _ in range(3)]
    found = interval(noisy)
    assert found is not None
    low, high = found
    mean = np.mean([spearman(*pair) or 0 for pair in noisy])
    assert 0.2 < low < mean < high < 0.95
    assert high - low < 0.5
    assert interval([(one.tolist(), one.tolist())] * 2) == pytest.approx((1.0, 1.0))


def policies(source: str, good: bool) -> dict[str, Any]:
    """Return policies whose loss after 0 steps orders them rightly or the wrong way round."""
    rows = []
    for at in range(4):
        scores = {f"{kind}@0": float(at if good else -at) for kind in ("loss", "metric", "kl")}
        outcome = {"loss": at / 10, "quality": 0.9 - at / 10}
        rows.append({**scores, "forwards@0": 100.0, "outcome": outcome, "again": outcome})
    return {f"net.50.{source}": {"policies": rows}}


def test_figures_of_hand_made_results() -> None:
    results: Results = {
        "dense": {"net": {"quality": 0.9}},
        "policies": policies("random0", True) | policies("searched20", False),
    }
    groups = groups_of(results)
    assert {group: len(rows) for group, rows in groups.items()} == {"net.50": 8}
    found = table(groups)["loss@0"]
    assert found["forwards"] == 100
    assert found["quality"]["random"]["mean"] == pytest.approx(1)
    assert found["loss"]["searched"]["groups"] == {"net.50": pytest.approx(-1)}
    own = figures(results)
    assert (own["policies"], own["best"]) == (8, "loss@0")
    assert own["ceiling"] == pytest.approx(1)
    assert own["default"] == default()


def test_figures_without_results_are_none() -> None:
    found = figures({})
    assert (found["spearman"], found["best"], found["policies"]) == (None, None, 0)


def test_the_full_run_has_forty_policies_of_each_model_and_budget() -> None:
    counts: dict[str, list[int]] = {}
    for task in tasks(quick=False):
        if task.kind == "policies":
            group = task.name.rpartition(".")[0]
            counts.setdefault(group, []).append(task.arguments["count"])
            assert task.arguments["full"] == FULL > max(STEPS)
    assert {group: sum(each) for group, each in counts.items()} == {
        f"{name}.{macs}": 30 for name in NETWORKS for macs in (25, 50)
    }
    assert default() == "kl@0"
