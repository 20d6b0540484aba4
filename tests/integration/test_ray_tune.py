"""Our sampler in Ray Tune with its schedulers; Ray listens where nothing reaches it."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_study" / "ray_tune.py"
STAGES = Path(__file__).with_name("ray_stages.py")
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",  # where others use the machine too
}


def apart() -> list[str]:
    """Return what runs a command in a network of its own: Ray listens on all interfaces."""
    for flags in ("-n", "-rn"):
        command = ["unshare", flags, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as err:
            reason = f"no network of its own can be had for Ray here: {err}"
        else:
            return command
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def output(*script: str | Path, home: str, **settings: str) -> str:
    """Return what a script prints that runs Ray in a network of its own."""
    command = [*apart(), sys.executable, *map(str, script)]
    env = os.environ | SETTINGS | {"HOME": home, "RAY_TMPDIR": home} | settings
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def home() -> Iterator[str]:
    """Return a folder with a short name: sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield folder


def test_asha_stops_trials_and_the_best_policy_is_inside_the_budget(home: str) -> None:
    shown = output(EXAMPLE, home=home)
    assert re.search(r"^8 trials, [1-7] of them stopped early$", shown, re.MULTILINE)
    found = re.search(r"best policy: loss (.*) at (.*)% of the multiply-adds", shown)
    assert found, shown
    assert float(found[1]) < 0.5
    assert float(found[2]) <= 50


def told(home: str, how: str, **settings: str) -> list[tuple[str, float | None, int]]:
    """Return state, value and number of stages of each trial that the study was told of."""
    lines = output(STAGES, f"{home}/results", how, home=home, **settings).splitlines()
    return [tuple(one) for one in json.loads(lines[-1])]


def test_what_hyperband_stops_is_told_as_stopped(home: str) -> None:
    found = told(home, "hyperband")
    assert len(found) == 8
    states = {state for state, _, _ in found}
    assert states == {"COMPLETE", "PRUNED"}
    assert all((count == 4) == (state == "COMPLETE") for state, _, count in found)


def test_an_interrupted_run_that_is_restored_ends_complete(home: str) -> None:
    before = told(home, "cut", CUT="1")
    assert "RUNNING" in {state for state, _, _ in before}, "or this tests nothing"
    found = told(home, "restore")
    assert [(state, count) for state, _, count in found] == [("COMPLETE", 4)] * 8
    done = [one for one in before if one[0] == "COMPLETE"]
    assert [one for one, then in zip(found, before, strict=False) if then[0] == "COMPLETE"] == done
