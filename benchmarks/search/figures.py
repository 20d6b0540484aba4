"""What the results of the search benchmark come to."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any

from benchmarks.search.parts import worth_of_parts
from benchmarks.work import Results

Facts = Mapping[str, Any]
Row = Sequence[float]
Worth = Callable[[Row], float]
CLOSE = 0.001  # of a quality: what judging it anew with three seeds may change


def by_quality(row: Row) -> float:
    """Return the quality in a row of evaluations, sample forwards, loss, quality."""
    return row[3]


def by_loss(row: Row) -> float:
    """Return minus the loss, or the score, in a row."""
    return -row[2]


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    ``cost_ratio_tpe``: what TPE's search cost, by what ours cost to find a policy of at least
    the quality that TPE's ends with; 0 where ours never did. ``_loss``: by the loss. ``_score``:
    by the score that the searches themselves saw. ``_close``: within 0.1 points of the quality,
    for a judged quality is no more exact. ``_mean``: of the mean quality over seeds;
    ``_mean_seeds``: over how many, fewer where searches are not done yet or failed.
    ``_scored``: TPE scores as ours does, stages included.
    ``ahead_points``: how much better ours ends than TPE's, mean over searches.
    ``parts``: `worth_of_parts`, the ablations.
    """
    live = results.get("live", {})
    means = over_seeds(live)
    scored = {n: f for n, f in live.items() if ".tpe." not in n} | results.get("scored", {})
    gaps = {n: median(f["gap"]) for n, f in _ours(results).items() if f.get("gap")}
    ratios = _ratios(live, "judged", by_quality)
    return {
        "cost_ratio_tpe": _median(ratios),
        "cost_ratio_tpe_all": ratios,
        "cost_ratio_tpe_loss": _median(_ratios(live, "judged", by_loss)),
        "cost_ratio_tpe_score": _median(_ratios(live, "trace", by_loss)),
        "cost_ratio_tpe_close": _median(_ratios(live, "judged", by_quality, CLOSE)),
        "cost_ratio_tpe_mean": _ratios(means, "judged", by_quality),
        "cost_ratio_tpe_mean_seeds": {
            name: ours["seeds"] for name, (_, ours) in _pairs(means, "judged").items()
        },
        "cost_ratio_tpe_scored": _median(_ratios(scored, "judged", by_quality)),
        "cost_ratio_tpe_scored_all": _ratios(scored, "judged", by_quality),
        "ahead_points_scored": _ahead(scored),
        "ahead_points": _ahead(live),
        "table_gap_points": max(gaps.values(), default=None),
        "table_evaluations": {name: _needed(facts) for name, facts in _tables(results).items()},
        "warm_start": {n: _warm(f) for n, f in results.get("warm", {}).items() if "needed" in f},
        "parts": worth_of_parts(results),
        "overhead_ms_per_trial": max(_overheads(results), default=None),
    }


def _overheads(results: Results) -> list[float]:
    """Return what a trial cost beside its evaluation, by the size of the study."""
    return [ms for facts in results.get("overhead", {}).values() for ms in facts.get("ms", [])]


def _median(ratios: Mapping[str, float]) -> float | None:
    return median(ratios.values()) if ratios else None


def _pairs(live: Mapping[str, Facts], kind: str) -> dict[str, tuple[Facts, Facts]]:
    """Return TPE's searches and ours, by what they have in common, where both tell of a kind.

    Those that failed are left out, for what they told before is a part of it.
    """
    whole = {name: facts for name, facts in live.items() if "failure" not in facts}
    found = {}
    for name, theirs in whole.items():
        ours = whole.get(name.replace(".tpe.", ".budgeted."), {})
        if ".tpe." in name and theirs.get(kind) and ours.get(kind):
            found[name.replace(".tpe", "")] = theirs, ours
    return found


def over_seeds(live: Mapping[str, Facts]) -> dict[str, Facts]:
    """Return searches that differ by their seeds alone as one each: means of what was judged.

    Seeds that one of both samplers was not judged with are left out; ``seeds`` counts the others.
    Where a search ended early its row of evaluations is another one: there is no mean then.
    """
    groups: dict[str, list[list[Row]]] = {}
    for name, both in _pairs(live, "judged").items():
        setting = name.rpartition(".")[0]
        for sampler, facts in zip(("tpe", "budgeted"), both, strict=True):
            groups.setdefault(f"{setting}.{sampler}.mean", []).append(facts["judged"])
    return {
        name: {"judged": _means(judged), "seeds": len(judged)} for name, judged in groups.items()
    }


def _means(judged: Sequence[Sequence[Row]]) -> list[list[float]]:
    """Return the mean over searches of each row; none where they differ in their rows."""
    counts = {tuple(row[0] for row in rows) for rows in judged}
    if len(counts) > 1:
        return []
    return [
        [mean(column) for column in zip(*rows, strict=True)] for rows in zip(*judged, strict=True)
    ]


def _ahead(live: Mapping[str, Facts]) -> float | None:
    """Return by how many points the quality that ours end with is above TPE's."""
    ahead = [
        100 * (by_quality(ours["judged"][-1]) - by_quality(theirs["judged"][-1]))
        for theirs, ours in _pairs(live, "judged").values()
    ]
    return round(mean(ahead), 3) if ahead else None


def _ratios(
    live: Mapping[str, Facts], kind: str, worth: Worth, close: float = 0.0
) -> dict[str, float]:
    """Return TPE's cost by ours for the same worth, by name; 0 if ours never came so far.

    Args:
        live: Facts of the searches by name.
        kind: ``judged`` or ``trace``: rows of evaluations, sample forwards, and worth.
        worth: Returns the worth of a row, higher is better.
        close: How much less is enough.
    """
    found = {}
    for name, (theirs, ours) in _pairs(live, kind).items():
        aim = worth(theirs[kind][-1]) - close
        costs = [row[1] for row in ours[kind] if worth(row) >= aim]
        theirs_cost = theirs[kind][-1][1] if kind == "judged" else theirs["sample_forwards"]
        found[name] = theirs_cost / min(costs, default=1e99)
    return {name: round(ratio, 2) for name, ratio in found.items()}


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
