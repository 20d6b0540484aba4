"""Two workers against one: evaluations per second of real searches, in turns."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

from benchmarks.isolated import Note
from benchmarks.provenance import CHECKOUT

_SKIPPED = 4  # evaluations before time is taken: workers start meanwhile
_LIMIT = 900.0  # seconds of one search
# Ray listens on all interfaces: it gets a network of its own.
_APART = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}


def compare(note: Note, runner: str, pairs: int = 3, trials: int = 24) -> None:
    """Search with one worker, with two, and twice at once with one, in turns.

    Args:
        note: Told the facts: ``one`` and ``two``, evaluations per second of each search;
            ``apart``, those of two searches at once that share nothing but the machine; ``load``,
            how many processes wanted a core when it began, which should be none.
        runner: Its kind.
        pairs: How often.
        trials: Evaluations of each search.
    """
    found: dict[str, list[float]] = {"one": [], "two": [], "apart": [], "load": []}
    for pair in range(pairs):
        note(stage=f"pair {pair + 1} of {pairs}")
        found["load"].append(os.getloadavg()[0])
        for name, workers in (("one", 1), ("two", 2)):
            found[name].append(rate(searched(runner, workers, trials)))
        with ThreadPoolExecutor(2) as both:
            runs = [both.submit(searched, runner, 1, trials) for _ in range(2)]
        found["apart"].append(sum(rate(one.result()) for one in runs))
        note(**found)


def searched(kind: str, workers: int, trials: int) -> list[tuple[float, int]]:
    """Search in a process of its own; see `searching.search`."""
    # a folder with a short name: Ray's sockets lie there
    with TemporaryDirectory(prefix="s-", ignore_cleanup_errors=True) as folder:
        words = ["-m", "benchmarks.scale.searching", kind, str(workers), str(trials), folder]
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        own = _RAY | {"HOME": folder, "RAY_TMPDIR": folder} if kind == "ray" else {}
        done = subprocess.run(
            [*(_APART if kind == "ray" else ()), sys.executable, *words],
            cwd=CHECKOUT,
            env=os.environ | one_thread | own,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
        )
    if done.returncode:
        raise RuntimeError(f"the search ended with {done.returncode}: {done.stderr[-200:]}")
    return [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]


def rate(times: Sequence[tuple[float, int]]) -> float:
    """Return evaluations per second, without the first and the last few.

    Args:
        times: Seconds, and evaluations that were done by then, in order.
    """
    last = times[-1][1] - 1  # then workers have nothing more to do
    inside = [one for one in times if _SKIPPED <= one[1] <= last]
    (begun, first), (ended, most) = inside[0], inside[-1]
    return (most - first) / (ended - begun)
