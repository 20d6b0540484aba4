"""The benchmark of the predictor: what is saved and lost by hand, and one small comparison."""

from typing import Any

import numpy as np
import pytest

from benchmarks.predictor.figures import figures, lost_points, saved_share
from benchmarks.predictor.searched import WITH, WITHOUT, compare

THEIRS = [5.0, 4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("ours", "saved", "lost"),
    [
        ([5.0, 2.1, 2.0, 2.0], 0.5, 0.1),  # within a tenth of a point after two of four
        ([2.0, 1.0, 1.0, 1.0], 0.75, -1.0),
        ([5.0, 4.0, 3.0, 2.0], 0.0, 2.0),
        ([5.0, 4.0, 3.0, 3.0], -np.inf, 2.0),
    ],
)
def test_what_is_saved_and_lost_by_hand(ours: list[float], saved: float, lost: float) -> None:
    assert saved_share(ours, THEIRS) == saved
    assert lost_points(ours, THEIRS) == pytest.approx(lost)


def test_figures_of_what_was_measured_by_hand() -> None:
    counted = {"spared": 7, "audited": 2, "wrong": 1}
    late = [{"count": 30, "spearman": 0.8, "coverage": 0.9}]
    late += [{"count": 10, "spearman": 0.6, "coverage": 0.5}]
    traces = {WITH: [[5.0, 2.1, 2.0, 2.0], [5.0, 4.0, 3.0, 2.0]], WITHOUT: [THEIRS, THEIRS]}
    facts = {**traces, "whole": [counted, counted], "late": late}
    rest = {"rest": [{"count": 100, "spearman": 0.95, "coverage": 0.88}]}
    found = figures({"table": {"t": facts, "failed": {}}, "rest": {"t.tpe": rest}})
    assert found["spearman"] == pytest.approx(0.7)
    assert found["coverage90"] == pytest.approx((30 * 0.9 + 10 * 0.5) / 40)
    assert (found["spearman_rest"], found["coverage90_rest"]) == (0.95, 0.88)
    assert found["saved_share"] == pytest.approx(0.25)
    assert found["saved_loss_points"] == pytest.approx(1.05)
    assert {n: found["tables"]["t"][n] for n in counted} == {n: 2 * c for n, c in counted.items()}
    assert figures({})["spearman"] is None


def test_searches_of_networks_are_compared_where_both_are_there() -> None:
    traces = {
        "net.budgeted.0": [[1, 9.0, 1.0, 0.5], [2, 18.0, 0.5, 0.9]],
        "net.no_predictor.0": [[1, 9.0, 1.0, 0.5], [4, 36.0, 0.5, 0.9]],
        "net.budgeted.1": [[1, 9.0, 1.0, 0.5]],
    }
    facts = {
        name: {"trace": trace, "evaluations": 4, "predictions": {"spearman": 0.7}}
        for name, trace in traces.items()
    }
    (name,) = found = figures({"live": facts})["live"]
    assert name == "net.budgeted.0"
    assert found[name]["saved_share"] == 0.5
    assert found[name]["saved_loss_points"] == pytest.approx(0)
    assert found[name]["spearman"] == 0.7


def test_a_comparison_gives_what_figures_read() -> None:
    facts: dict[str, Any] = {}
    compare(lambda **new: facts.update(new), "fashion_methods", seeds=1, trials=9, first=100)
    assert [len(facts[name][0]) for name in (WITH, WITHOUT)] == [9, 9]
    assert facts["whole"][0]["count"] > 0
    found = figures({"table": {"fashion_methods": facts}})
    assert found["saved_loss_points"] is not None
    assert found["spearman"] is None, "there were no evaluations after the thirtieth"
