"""What the results of the search benchmark come to."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.tasks import Results

Facts = Mapping[str, Any]
Trace = Sequence[Sequence[float]]


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured."""
    live = results.get("live", {})
    ratios = [r for r in map(lambda name: _ratio(live, name), _pairs(live)) if r is not None]
    gaps = {n: median(f["gap"]) for n, f in _ours(results).items() if f.get("gap")}
    return {
        "cost_ratio_tpe": median(ratios) if ratios else None,
        "cost_ratio_tpe_worst": max(ratios, default=None),
        "cost_ratio_tpe_pairs": len(ratios),
        "table_gap_points": max(gaps.values(), default=None),
        "table_evaluations": {name: _needed(facts) for name, facts in _tables(results).items()},
        "warm_start": {n: _warm(f) for n, f in results.get("warm", {}).items() if "needed" in f},
        "overhead_ms_per_trial": max(_overheads(results), default=None),
    }


def _overheads(results: Results) -> list[float]:
    """Return what a trial cost beside its evaluation, by the size of the study."""
    return [ms for facts in results.get("overhead", {}).values() for ms in facts.get("ms", [])]


def _pairs(live: Mapping[str, Facts]) -> list[str]:
    """Return names with ``tpe`` in them whose counterparts of ours are there too."""
    return [n for n in live if ".tpe." in n and n.replace(".tpe.", ".budgeted.") in live]


def _ratio(live: Mapping[str, Facts], name: str) -> float | None:
    """Return what ours cost to get as far as all of TPE's evaluations, as a share of theirs.

    Infinite if it never got there.
    """
    theirs, ours = live[name], live[name.replace(".tpe.", ".budgeted.")]
    if "sample_forwards" not in theirs or "trace" not in ours:
        return None
    reached = theirs["trace"][-1][2]
    costs = [cost for _, cost, score, _ in ours["trace"] if score <= reached]
    return costs[0] / theirs["sample_forwards"] if costs else float("inf")


def _tables(results: Results) -> Mapping[str, Facts]:
    return results.get("table", {})


def _ours(results: Results) -> dict[str, Facts]:
    return {n: f for n, f in _tables(results).items() if n.endswith(".budgeted")}


def _warm(facts: Facts) -> dict[str, float | None]:
    """Return medians over seeds: evaluations needed, and points below the best after some."""
    found = {name: median(facts[name]) for name in facts if name.startswith("gap_")}
    return found | {"needed": _needed(facts)["median"]}


def _needed(facts: Facts) -> dict[str, float | int | None]:
    """Return quartiles of the evaluations needed; None where that many seeds never got there."""
    needed = sorted((n for n in facts.get("needed", [])), key=lambda n: (n is None, n))
    if not needed:
        return {"seeds": 0}
    at = {q: needed[min(int(q * len(needed)), len(needed) - 1)] for q in (0.25, 0.5, 0.75)}
    names = {0.25: "lower", 0.5: "median", 0.75: "upper"}
    found = sum(n is not None for n in needed)
    return {"seeds": len(needed), "found": found} | {names[q]: n for q, n in at.items()}
