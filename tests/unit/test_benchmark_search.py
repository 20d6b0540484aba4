"""Figures of searches: costs for the same worth."""

from typing import Any

import pytest

from benchmarks.search.__main__ import SETTINGS, TRIALS, tasks
from benchmarks.search.figures import figures

# evaluations, sample forwards, loss, quality
TPE: dict[str, Any] = {
    "judged": [[10, 100.0, 0.5, 0.80], [400, 4000.0, 0.3, 0.90]],
    "trace": [[1, 10.0, 0.6, 0.8], [390, 3900.0, 0.31, 0.9]],
    "sample_forwards": 4000.0,
}
OURS: dict[str, Any] = {
    "judged": [[10, 200.0, 0.4, 0.85], [40, 500.0, 0.29, 0.89], [80, 1000.0, 0.31, 0.91]],
    "trace": [[1, 50.0, 0.6, 0.8], [30, 400.0, 0.32, 0.9]],
    "sample_forwards": 1000.0,
}


def test_tpe_that_scores_as_we_do_is_told_apart() -> None:
    scored: dict[str, Any] = {**TPE, "judged": [[400, 1000.0, 0.3, 0.90]]}
    live = {"net.50%.tpe.0": TPE, "net.50%.budgeted.0": OURS}
    found = figures({"live": live, "scored": {"net.50%.tpe.0": scored}})
    assert found["cost_ratio_tpe"] == 4
    assert found["cost_ratio_tpe_scored_all"] == {"net.50%.0": 1.0}
    assert found["ahead_points_scored"] == 1.0
    assert figures({"live": live})["cost_ratio_tpe_scored"] is None


def test_costs_are_compared_at_the_first_policy_that_is_worth_as_much() -> None:
    found = figures({"live": {"net.50%.tpe.0": TPE, "net.50%.budgeted.0": OURS}})
    assert found["cost_ratio_tpe"] == pytest.approx(4)  # 0.91 of quality, after 1000
    assert found["cost_ratio_tpe_loss"] == pytest.approx(8)  # 0.29, after 500
    assert found["cost_ratio_tpe_score"] == 0  # 0.31 was never seen
    assert found["cost_ratio_tpe_all"] == {"net.50%.0": 4}


def test_what_comes_close_and_means_over_seeds_count_too() -> None:
    near: dict[str, Any] = {**OURS, "judged": [[10, 200.0, 0.4, 0.80], [40, 500.0, 0.3, 0.8995]]}
    live = {"net.50%.tpe.0": TPE, "net.50%.budgeted.0": near}
    found = figures({"live": live})
    assert (found["cost_ratio_tpe"], found["cost_ratio_tpe_close"]) == (0, 8)
    assert found["ahead_points"] == pytest.approx(-0.05)
    fewer = {**OURS, "judged": OURS["judged"][:2]}
    more = {"net.50%.tpe.1": TPE, "net.50%.budgeted.1": fewer, "net.50%.budgeted.2": OURS}
    worse = {**live, **more, "net.50%.tpe.3": TPE}
    # ours, first and second row: means of 0.80 and 0.85, of 0.8995 and 0.89; theirs 0.90
    assert figures({"live": worse})["cost_ratio_tpe_mean"] == {"net.50%.mean": 0}
    better = {**OURS, "judged": [[10, 100.0, 0.4, 0.80], [40, 1500.0, 0.3, 0.91]]}
    even = {**live, "net.50%.tpe.1": TPE, "net.50%.budgeted.1": better}
    found = figures({"live": even})
    assert found["cost_ratio_tpe_mean"] == {"net.50%.mean": 4}
    assert found["cost_ratio_tpe_mean_seeds"] == {"net.50%.mean": 2}


def test_seeds_that_are_not_done_are_left_out_and_it_shows() -> None:
    live = {f"net.50%.tpe.{seed}": TPE for seed in range(3)}
    live |= {"net.50%.budgeted.0": OURS, "net.50%.budgeted.1": {}}
    cut = {**OURS, "judged": OURS["judged"][:1], "failure": "took longer than 9 s"}
    found = figures({"live": {**live, "net.50%.budgeted.2": cut}})
    assert found["cost_ratio_tpe_mean_seeds"] == {"net.50%.mean": 1}
    assert found["cost_ratio_tpe_all"] == {"net.50%.0": 4}, "what was cut off is not compared"


@pytest.mark.parametrize(
    "judged", [OURS["judged"][:2], [*OURS["judged"][:2], [70, 9.0, 0.3, 0.9]]]
)
def test_seeds_that_were_judged_after_other_evaluations_have_no_mean(judged: list[Any]) -> None:
    live = {f"net.50%.tpe.{seed}": TPE for seed in range(2)}
    live |= {"net.50%.budgeted.0": OURS, "net.50%.budgeted.1": {**OURS, "judged": judged}}
    found = figures({"live": live})
    assert found["cost_ratio_tpe_mean"] == {}
    assert found["cost_ratio_tpe_mean_seeds"] == {}
    assert len(found["cost_ratio_tpe_all"]) == 2


def test_a_search_without_its_counterpart_gives_no_figure() -> None:
    assert figures({"live": {"net.50%.tpe.0": TPE}})["cost_ratio_tpe"] is None
    failed = {"failure": "took longer"}
    live = {"net.50%.tpe.0": failed, "net.50%.budgeted.0": OURS}
    assert figures({"live": live})["cost_ratio_tpe"] is None


def test_the_full_run_compares_three_seeds_of_two_networks_and_two_budgets() -> None:
    live = [task for task in tasks(quick=False) if task.kind == "live"]
    assert len(live) == len(SETTINGS) * len(TRIALS) * 3
    assert {task.arguments["model"] for task in live} == {"resnet20", "mobilenet_v2"}
    trials = {task.arguments["sampler"]: task.arguments["trials"] for task in live}
    assert trials["tpe"] == 400


def test_a_part_is_worth_what_searches_without_it_lack() -> None:
    whole = {"needed": [3, 5, None], "gap": [0.0, 0.1, 0.4]}
    worse = {"needed": [9, None, None], "gap": [0.1, 0.5, 0.6]}
    without = {"judged": [[10, 300.0, 0.5, 0.80], [40, 1000.0, 0.4, 0.88]]}
    found = figures(
        {
            "table": {"net.budgeted": whole, "net.tpe": worse},
            "without": {"net.no_predictor": worse},
            "live": {"net.50%.budgeted.0": OURS},
            "ablation": {"net.50%.no_stages": without, "net.50%.no_predictor": {"trace": []}},
        }
    )["parts"]
    assert found["tables"]["net"] == {
        "none": {"found": 2, "seeds": 3, "gap_points": pytest.approx(0.5 / 3)},
        "no_predictor": {"found": 1, "seeds": 3, "gap_points": pytest.approx(0.4)},
    }
    assert found["networks"]["net.50%"] == {
        "no_stages": pytest.approx({"points": 1.0, "loss": -0.11, "cost_ratio": 0.5})
    }
