"""Our sampler in Ray Tune with its schedulers; Ray listens where nothing reaches it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_study" / "ray_tune.py"
STAGES = Path(__file__).with_name("ray_stages.py")


def test_asha_stops_trials_and_the_best_policy_is_inside_the_budget(run_ray: Run) -> None:
    shown = run_ray(EXAMPLE)
    assert re.search(r"^8 trials, [1-7] of them stopped early$", shown, re.MULTILINE)
    found = re.search(r"best policy: loss (.*) at (.*)% of the multiply-adds", shown)
    assert found, shown
    assert float(found[1]) < 0.5
    assert float(found[2]) <= 50


def told(
    run_ray: Run, results: Path, how: str, **settings: str
) -> list[tuple[str, float | None, int]]:
    """Return the trials that the study was told of."""
    lines = run_ray(STAGES, results, how, **settings).splitlines()
    return [tuple(one) for one in json.loads(lines[-1])]


def test_what_hyperband_stops_is_told_as_stopped(run_ray: Run, tmp_path: Path) -> None:
    found = told(run_ray, tmp_path, "hyperband")
    assert len(found) == 8
    states = {state for state, _, _ in found}
    assert states == {"COMPLETE", "PRUNED"}
    assert all((count == 4) == (state == "COMPLETE") for state, _, count in found)


def test_an_interrupted_run_that_is_restored_ends_complete(run_ray: Run, tmp_path: Path) -> None:
    before = told(run_ray, tmp_path, "cut", CUT="1")
    assert "RUNNING" in {state for state, _, _ in before}, "or this tests nothing"
    found = told(run_ray, tmp_path, "restore")
    assert [(state, count) for state, _, count in found] == [("COMPLETE", 4)] * 8
    done = [one for one in before if one[0] == "COMPLETE"]
    assert [one for one, then in zip(found, before, strict=False) if then[0] == "COMPLETE"] == done
