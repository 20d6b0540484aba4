"""What the results of the predictor benchmark come to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.predictor.searched import WITH, WITHOUT
from benchmarks.work import Results

CLOSE = 0.1  # points that a saved evaluation may cost
Trace = Sequence[float]  # points given up by the best policy so far, by evaluation
Pairs = Sequence[tuple[Trace, Trace]]  # with the predictor and without it, by seed


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    Correlations and coverage come twice: of what searches proposed, which lies in the narrow
    range that they aim at, and, ``_rest``, of all policies of a table that were not proposed.
    """
    tables = {name: facts for name, facts in results.get("table", {}).items() if "late" in facts}
    pairs = {name: list(zip(f[WITH], f[WITHOUT], strict=True)) for name, f in tables.items()}
    proposed = [one for facts in tables.values() for one in facts["late"]]
    rest = [one for facts in results.get("rest", {}).values() for one in facts.get("rest", ())]
    every = [pair for one in pairs.values() for pair in one]
    return {
        **_worth(proposed, ""),
        **_worth(rest, "_rest"),
        "saved_share": _median(saved_share(*pair) for pair in every),
        "saved_loss_points": _median(lost_points(*pair) for pair in every),
        "tables": {name: _table(pairs[name], facts) for name, facts in tables.items()},
        "live": _live(results.get("live", {})),
    }


def saved_share(ours: Trace, theirs: Trace) -> float:
    """Return the share of their evaluations that ours did not need to come as far, nearly.

    Minus infinity if it never came as far.
    """
    there = [at for at, gap in enumerate(ours, 1) if gap <= theirs[-1] + CLOSE]
    return 1 - there[0] / len(theirs) if there else -np.inf


def lost_points(ours: Trace, theirs: Trace) -> float:
    """Return the points that ours gives up more after half of their evaluations."""
    return ours[len(theirs) // 2 - 1] - theirs[-1]


def _live(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was saved and lost in each search of a network that has its counterpart."""
    whole = {name: facts for name, facts in found.items() if "predictions" in facts}
    both = {n: n.replace(f".{WITH}.", f".{WITHOUT}.") for n in whole if f".{WITH}." in n}
    live: dict[str, Any] = {}
    for name, other in both.items():
        if other in whole:
            ours, theirs = _trace(whole[name]), _trace(whole[other])
            saved, lost = saved_share(ours, theirs), lost_points(ours, theirs)
            live[name] = {"saved_share": saved, "saved_loss_points": lost}
            live[name] |= whole[name]["predictions"]
    return live


def _trace(facts: Mapping[str, Any]) -> Trace:
    """Return what the best by score gave up of the quality, in points, after each evaluation."""
    steps = {int(count): 100 * (1 - quality) for count, _, _, quality in facts["trace"]}
    found = [np.inf]
    for at in range(1, facts["evaluations"] + 1):
        found.append(steps.get(at, found[-1]))
    return found[1:]


def _table(pairs: Pairs, facts: Mapping[str, Any]) -> dict[str, Any]:
    counted = {n: sum(one[n] for one in facts["whole"]) for n in ("spared", "audited", "wrong")}
    return {
        "saved_share": _quartiles(saved_share(*pair) for pair in pairs),
        "saved_loss_points": _quartiles(lost_points(*pair) for pair in pairs),
        "final_gap_points": {
            name: _quartiles(gaps[-1] for gaps in facts[name]) for name in (WITH, WITHOUT)
        },
        **_worth(facts["late"], ""),
        **counted,
    }


def _worth(found: Sequence[Mapping[str, Any]], suffix: str) -> dict[str, float | None]:
    """Return the median correlation and the share of all scores inside their intervals."""
    ranks = [one["spearman"] for one in found if one["spearman"] is not None]
    counts = [one["count"] for one in found]
    inside = sum(one["count"] * (one["coverage"] or 0.0) for one in found)
    return {
        f"spearman{suffix}": _median(ranks),
        f"coverage90{suffix}": inside / sum(counts) if sum(counts) else None,
    }


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None


def _quartiles(values: Iterable[float]) -> list[float]:
    found = np.percentile(list(values), (25, 50, 75), method="nearest")
    return [float(value) for value in found]
