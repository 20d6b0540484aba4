"""What the results of the rollback benchmark come to."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from benchmarks.rollback.tabled import ARMS
from benchmarks.work import Results

WITH, *WITHOUT = ARMS


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    ``gain_points``: what searches of tables with rollback end better than the same ones with
    plain switches, on average; ``gain_p``: Wilcoxon's signed-rank test of that, one-sided.
    ``live``: the same of networks, by judged quality. ``_none``: against no switches at all.
    """
    planted, restored = results.get("planted", {}), results.get("restore", {})
    found = {name: _gains(results, arm) for name, arm in zip(("", "_none"), WITHOUT, strict=True)}
    return {
        **{f"gain_points{name}": gain["points"] for name, gain in found.items()},
        **{f"gain_p{name}": gain["p"] for name, gain in found.items()},
        "gain_by_table": {name: _table(facts) for name, facts in results.get("table", {}).items()},
        "live": {arm: _live(results.get("live", {}), arm) for arm in WITHOUT},
        "planted_found_share": _share(planted.values(), "found", "planted"),
        "harm_removed": _median(planted.values(), "removed"),
        "good_reverted_share": _share(planted.values(), "reverted", "good"),
        "restore_exact": _share(restored.values(), "exact", "sequences"),
        **_progressive(results),
    }


def _progressive(results: Results) -> dict[str, float | None]:
    """Return what progressive runs end better than one-shot ones, and worse after a fault."""
    runs, faults = results.get("progressive", {}), results.get("fault", {})
    done = {name: facts for name, facts in runs.items() if "single" in facts}
    gains = {
        way: [facts["progressive"]["quality"] - facts[way]["quality"] for facts in done.values()]
        for way in ("one_shot", "single")
    }
    losses = [
        done[run]["progressive"]["quality"] - facts["quality"]
        for name, facts in faults.items()
        if (run := name.rpartition(".")[0]) in done and facts.get("happened")
    ]
    return {
        "progressive_gain_points": _mean(gains["one_shot"]),
        "progressive_gain_points_single": _mean(gains["single"]),
        "fault_loss_points": _mean(losses),
        "fault_loss_points_most": 100 * max(losses) if losses else None,
    }


def _mean(gains: list[float]) -> float | None:
    return 100 * float(np.mean(gains)) if gains else None


def _gains(results: Results, arm: str) -> dict[str, float | None]:
    tables = results.get("table", {}).values()
    return _tested([one for facts in tables if WITH in facts for one in _ends(facts, arm)])


def _table(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {arm: _tested(_ends(facts, arm)) for arm in WITHOUT} if WITH in facts else {}


def _ends(facts: Mapping[str, Any], arm: str) -> list[float]:
    """Return by how many points each seed ends better than without."""
    pairs = zip(facts[WITH], facts[arm], strict=True)
    return [theirs[-1] - ours[-1] for ours, theirs in pairs]


def _live(found: Mapping[str, Mapping[str, Any]], arm: str) -> dict[str, float | None]:
    gains = []
    for name, ours in found.items():
        theirs = found.get(name.replace(f".{WITH}.", f".{arm}."), {})
        if f".{WITH}." in name and ours.get("judged") and theirs.get("judged"):
            gains.append(100 * (ours["judged"][-1][3] - theirs["judged"][-1][3]))
    return _tested(gains)


def _tested(gains: list[float]) -> dict[str, float | None]:
    """Return the mean gain, and the chance of it if there were none."""
    if not gains:
        return {"points": None, "p": None, "seeds": 0}
    differ = np.any(np.array(gains) != 0)
    chance = float(wilcoxon(gains, alternative="greater").pvalue) if differ else 1.0
    return {"points": float(np.mean(gains)), "p": chance, "seeds": len(gains)}


def _median(found: Iterable[Mapping[str, Any]], name: str) -> float | None:
    known = [value for facts in found for value in facts.get(name, ())]
    return float(np.median(known)) if known else None


def _share(found: Iterable[Mapping[str, Any]], part: str, whole: str) -> float | None:
    known = [facts for facts in found if whole in facts]
    counts = [float(np.sum([facts[name] for facts in known])) for name in (part, whole)]
    return counts[0] / counts[1] if counts[1] else None
