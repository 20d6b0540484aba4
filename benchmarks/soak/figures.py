"""The figures of a soak."""

from typing import Any

from benchmarks.work import Results

_COUNTED = ("minutes", "searches", "evaluations", "faults", "lost", "done_twice", "left_running")
_SLOPES = {
    "driver_slope_mb_per_hour": "driver.mb",
    "driver_slope_mb_per_1000": "driver.mb_per_1000",
    "worker_slope_mb_per_hour": "worker.mb",
    "worker_slope_mb_per_1000": "worker.mb_per_1000",
    "server_slope_mb_per_hour": "server.mb",
    "open_files_slope": "driver.files",
    "sockets_slope": "driver.sockets",
    "threads_slope": "driver.threads",
    "worker_open_files_slope": "worker.files",
    "worker_sockets_slope": "worker.sockets",
}


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    ``_slope``: per hour, and per 1,000 evaluations, in the second half of the life of the long
    search's driver, with ``_low`` and ``_high``, the ends of its interval. ``ended_well``: share
    of the searches that came to their end with a result and exit code 0, whatever befell them.
    """
    facts = results.get("soak", {}).get("run", {})
    found = {name: facts.get(name) for name in _COUNTED}
    for name, slope in _SLOPES.items():
        told = facts.get("slopes", {}).get(slope) or {}
        found[name] = told.get("per_unit")
        found[f"{name}_low"], found[f"{name}_high"] = told.get("low"), told.get("high")
    left = facts.get("left", {})
    return {
        **found,
        "connections_left": left.get("connections"),
        "temporary_files_left": left.get("temporary"),
        "shared_memory_left": left.get("shared_memory"),
        "database_kb_per_evaluation": facts.get("database_kb_per_evaluation"),
        "ended_well": _ended_well(facts),
        "failed": [*facts.get("failures", ()), *_wrong(facts)],
    }


def _wrong(facts: dict[str, Any]) -> list[str]:
    """Return what the long search's drivers ended with but 0."""
    codes = [f"long: exit code {code}" for code in facts.get("ended", ()) if code]
    return codes + ([str(facts["failure"])] if "failure" in facts else [])


def _ended_well(facts: dict[str, Any]) -> float | None:
    searches, wrong = facts.get("searches"), len(facts.get("failures", ())) + len(_wrong(facts))
    return searches / (searches + wrong) if searches else None
