"""Our sampler in Ray Tune with ASHA, on a network; Ray listens where nothing reaches it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

STAGES, TRIALS = 3, 8  # of the example
SESSION = Path(__file__).with_name("ray_session.py")
CHECKOUT = Path(__file__).parents[2]
SETTINGS = {
    "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "examples" / "own_study"))),
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


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    """Return what the study was told in one session of Ray, which leaves nothing behind."""
    command = [*apart(), sys.executable, str(SESSION)]
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # short: sockets lie there
        env = os.environ | SETTINGS | {"HOME": folder, "RAY_TMPDIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_policies_are_inside_the_budget_and_differ(session: dict[str, Any]) -> None:
    assert session["inside"] == [True] * TRIALS
    policies = [
        tuple(item for item in trial["params"].items() if item[0] != "rate")
        for trial in session["staged"]
    ]
    assert len(set(policies)) == TRIALS


def test_what_asha_stopped_is_told_as_stopped_with_its_stages(session: dict[str, Any]) -> None:
    for trial in session["staged"]:
        whole = len(trial["reports"]) == STAGES
        assert trial["state"] == ("COMPLETE" if whole else "PRUNED")
        assert trial["value"] == trial["reports"][-1]
    states = {trial["state"] for trial in session["staged"]}
    assert states == {"COMPLETE", "PRUNED"}


def test_no_trial_is_left_running(session: dict[str, Any]) -> None:
    for trial in session["troubled"]:
        level = trial["params"]["level:u0"] + trial["params"]["level:u1"]
        assert trial["state"] == ("COMPLETE" if level % 3 == 0 else "FAIL")
    assert {trial["state"] for trial in session["troubled"]} == {"COMPLETE", "FAIL"}
