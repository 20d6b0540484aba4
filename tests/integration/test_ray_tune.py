"""Our sampler in Ray Tune with ASHA, on a network; Ray listens where nothing reaches it."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_study" / "ray_tune.py"
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


def test_asha_stops_trials_and_the_best_policy_is_inside_the_budget() -> None:
    command = [*apart(), sys.executable, str(EXAMPLE)]
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # short: sockets lie there
        env = os.environ | SETTINGS | {"HOME": folder, "RAY_TMPDIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^8 trials, [1-7] of them stopped early$", done.stdout, re.MULTILINE)
    found = re.search(r"best policy: loss (.*) at (.*)% of the multiply-adds", done.stdout)
    assert found, done.stdout
    assert float(found[1]) < 0.5
    assert float(found[2]) <= 50
