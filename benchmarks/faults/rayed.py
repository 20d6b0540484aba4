"""A Ray cluster whose head is lost in the middle of a search."""

import os
import secrets
import subprocess
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.processes import LONG, apart, kill
from benchmarks.faults.search import TRIALS, Failed, Search
from benchmarks.faults.totals import totals
from benchmarks.isolated import Note

_ADDRESS = "127.0.0.1:6379"
_STARTS = 3  # tries: Ray gives itself half a minute, which a busy machine may not have for it
_RUNNER: dict[str, Any] = {
    "kind": "ray",
    "address": _ADDRESS,
    "workers": 2,
    "runtime_env": {"worker_process_setup_hook": "benchmarks.faults.observed.observe"},
}


def heads(note: Note, seed: int, trials: int = TRIALS) -> None:
    """Kill every process of a cluster of one node but the search, start it again, and go on.

    Args:
        note: Told the facts; see `Totals`; ``code`` is the exit code of what was disturbed.
        seed: Of the moment.
        trials: Policies that the search scores.
    """
    rng = Random(seed)
    with (
        totals(note, trials) as facts,
        TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as home,
        apart("-n", setup="ip link set lo up") as (within, _),
        facts.search(within=within, runner=_RUNNER, environment=_settings(home)) as search,
    ):
        _begin(search)
        driver = search.under_way(rng)
        _lose(search, {driver.pid})
        code = search.ended(driver)
        search.books.look()
        _begin(search)
        search.finish()
        _lose(search, set())
        facts.add(search, code=code)


def _settings(home: str) -> dict[str, str]:
    return {
        "HOME": home,
        "RAY_TMPDIR": home,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "PATH": os.environ["PATH"],
    }


def _begin(search: Search) -> None:
    command = [*search.within, "ray", "start", "--head", "--node-ip-address=127.0.0.1"]
    command += ["--port=6379", "--num-cpus=2", "--include-dashboard=false"]
    for _ in range(_STARTS):
        done = subprocess.run(
            command, env=search.variables, cwd=search.folder, capture_output=True, timeout=LONG
        )
        if done.returncode == 0:
            return
        _lose(search, set())  # what did start of it
    why = done.stderr.decode().strip().rpartition("\n")[2]
    raise Failed(f"Ray cannot be started: {why}")


def _lose(search: Search, kept: set[int]) -> None:
    """Kill all that belongs to the search's cluster."""
    while lost := search.processes - kept:
        search.books.dead |= lost
        for process in lost:
            kill(process)
