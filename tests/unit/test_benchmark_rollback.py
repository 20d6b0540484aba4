"""Figures of the rollback benchmark."""

from typing import Any

import pytest

from benchmarks.rollback.__main__ import tasks
from benchmarks.rollback.figures import figures

TABLE = {  # points below the best, by seed after each evaluation
    "budgeted": [[3.0, 0.0], [2.0, 0.5], [2.0, 1.0], [1.0, 0.0], [1.0, 0.0]],
    "no_rollback": [[3.0, 1.0], [2.0, 1.5], [2.0, 2.0], [1.0, 0.5], [1.0, 1.0]],
    "no_switches": [[3.0, 0.0], [2.0, 0.5], [2.0, 1.0], [1.0, 0.0], [1.0, 0.0]],
}
CASES = {
    "planted": [1, 2],
    "found": [1, 1],
    "removed": [1.0, 0.5],
    "good": [9, 11],
    "reverted": [1, 0],
}


def test_gains_are_means_over_seeds_with_a_paired_test() -> None:
    found = figures({"table": {"t": TABLE}})
    assert found["gain_points"] == pytest.approx(0.9)
    assert found["gain_p"] == pytest.approx(1 / 32)
    assert found["gain_points_none"] == 0
    assert found["gain_p_none"] == 1
    assert found["gain_by_table"]["t"]["no_rollback"]["seeds"] == 5


def test_shares_are_over_all_cases() -> None:
    found = figures({"planted": {"a": CASES, "b": {"failure": "took longer"}}})
    assert found["planted_found_share"] == pytest.approx(2 / 3)
    assert found["good_reverted_share"] == pytest.approx(1 / 20)
    assert found["harm_removed"] == pytest.approx(0.75)
    restored = {"x": {"exact": 999, "sequences": 1000}}
    assert figures({"restore": restored})["restore_exact"] == pytest.approx(0.999)


def test_live_searches_are_compared_by_judged_quality_in_the_end() -> None:
    def judged(quality: float) -> dict[str, Any]:
        return {"judged": [[10, 1.0, 0.5, 0.1], [40, 2.0, 0.4, quality]]}

    live = {"net.25%.budgeted.0": judged(0.9), "net.25%.no_rollback.0": judged(0.88)}
    found = figures({"live": live})["live"]
    assert found["no_rollback"]["points"] == pytest.approx(2)
    assert found["no_switches"] == {"points": None, "p": None, "seeds": 0}


def test_nothing_measured_gives_no_figure() -> None:
    found = figures({})
    assert found["gain_points"] is None
    assert found["planted_found_share"] is None


def test_the_full_run_has_five_live_seeds_in_three_ways() -> None:
    assert sum(task.kind == "live" for task in tasks(quick=False)) == 15
    assert not any(task.kind == "live" for task in tasks(quick=True))
