"""What each part of a search is worth: the same searches without it."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.work import Results

Facts = Mapping[str, Any]
Rows = Sequence[Sequence[float]]  # of evaluations, sample forwards, loss, quality
SEED = 0  # of searches of networks
ABLATED = 40  # evaluations on networks, what a search does unasked; ours is judged there, too
ON_TABLES = ("no_sensitivity", "no_coefficients", "no_predictor")  # with many seeds
ON_NETWORKS: Mapping[str, Mapping[str, Any]] = {  # with one
    **{name: {"sampler": name} for name in ("no_predictor", "no_coefficients", "no_rollback")},
    "no_sensitivity": {"sampler": "budgeted", "sensitivity": False},
    "no_stages": {"sampler": "budgeted", "stages": False},
    "no_divergence": {"sampler": "budgeted", "score_by": "loss"},
    "no_reconstruction": {"sampler": "budgeted", "reconstruct": False},
}


def worth_of_parts(results: Results) -> dict[str, Any]:
    """Return what searches without a part come to, beside the whole one.

    ``tables``: by table, of the whole one (``none``) and of each without a part, how many
    searches ``found`` a policy within 0.2 points of the best, and the mean ``gap_points`` in the
    end. ``networks``: by setting and part, how many ``points`` of quality and how much ``loss``
    the whole one has more after as many evaluations, and its ``cost_ratio``.
    """
    tables: dict[str, dict[str, Any]] = {}
    for kind in ("table", "without"):
        for name, facts in results.get(kind, {}).items():
            table, _, part = name.partition(".")
            if facts.get("gap") and (kind == "without" or part == "budgeted"):
                told = "none" if kind == "table" else part
                tables.setdefault(table, {})[told] = _tabled(facts)
    networks: dict[str, dict[str, Any]] = {}
    for name, facts in results.get("ablation", {}).items():
        setting, _, part = name.rpartition(".")
        whole = results.get("live", {}).get(f"{setting}.budgeted.{SEED}", {})
        compared = _compared(whole.get("judged", ()), facts.get("judged", ()))
        if compared is not None and "failure" not in facts:
            networks.setdefault(setting, {})[part] = compared
    return {"tables": tables, "networks": networks}


def _tabled(facts: Facts) -> dict[str, float]:
    found = sum(one is not None for one in facts["needed"])
    return {"found": found, "seeds": len(facts["needed"]), "gap_points": mean(facts["gap"])}


def _compared(whole: Rows, without: Rows) -> dict[str, float] | None:
    """Return how two searches differ where the second ends; None where one was not judged."""
    if not without:
        return None
    theirs = without[-1]
    ours = next((row for row in whole if row[0] == theirs[0]), None)
    if ours is None:
        return None
    return {
        "points": 100 * (ours[3] - theirs[3]),
        "loss": ours[2] - theirs[2],
        "cost_ratio": ours[1] / theirs[1],
    }
