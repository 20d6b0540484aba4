"""From the facts of every job to the figures, and to a table for people."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.isolated import Facts
from benchmarks.work import Results

RIGHT = ("traced", "forward", "equal", "round_trip")
BUILT = ("resnet50", "deeplabv3", "mobilenetv3", "vit_b_16")
Figures = dict[str, float | int | None]


def figures(results: Results) -> Figures:
    """Return the benchmark's figures; None stands for what was not measured.

    Args:
        results: Facts by kind (``ours``, ``theirs_expert``, ``theirs_obvious``, ``build``,
            ``memory``) and name.
    """
    ours = list(results.get("ours", {}).values())
    prunable = [facts.get("prunable", 0.0) for facts in ours]
    expert = list(results.get("theirs_expert", {}).values())
    obvious = list(results.get("theirs_obvious", {}).values())
    build = results.get("build", {})
    speedups = {name: _speedup(build.get(name), "apply_s") for name in BUILT}
    return {
        "zoo_models": len(ours),
        "zoo_ok_share": _share([is_ok(facts) for facts in ours]),
        "zoo_prunable_median": median(prunable) if prunable else None,
        "zoo_prunable_min": min(prunable, default=None),
        "onnx_ok": sum(bool(facts.get("onnx")) for facts in ours),
        "tp_ok_share": _share([bool(facts.get("right")) for facts in expert]),
        "build_speedup_resnet50": speedups["resnet50"],
        "build_speedup_deeplabv3": speedups["deeplabv3"],
        "build_speedup_min": _least(speedups.values()),
        "candidate_memory_ratio": _memory_ratio(results.get("memory", {}).get("resnet50", {})),
        "zoo_priced_share": _share([facts["priced"] for facts in ours if "priced" in facts]),
        "onnx_tried": sum("onnx" in facts for facts in ours),
        "tp_expert_runs_share": _share([bool(facts.get("runs")) for facts in expert]),
        "tp_obvious_ok_share": _share([bool(facts.get("right")) for facts in obvious]),
        "tp_obvious_runs_share": _share([bool(facts.get("runs")) for facts in obvious]),
        **{f"build_speedup_{n}": speedups[n] for n in ("mobilenetv3", "vit_b_16")},
        **_other_speedups(build),
    }


def is_ok(facts: Facts) -> bool:
    """Return whether a model was traced, pruned, and right in every respect."""
    return "failure" not in facts and all(facts.get(step) for step in RIGHT)


def cause(facts: Facts) -> str | None:
    """Return in which stage a job failed, and why, or None."""
    if "failure" not in facts:
        return None
    where = f" ({facts['where']})" if "where" in facts else ""
    return f"{facts.get('stage', 'start')}: {facts['failure']}{where}"


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _least(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return min(known, default=None)


def _speedup(facts: Facts | None, *ours: str) -> float | None:
    if facts is None or any(way not in facts for way in ("theirs_s", *ours)):
        return None
    return float(facts["theirs_s"] / sum(facts[way] for way in ours))


def _other_speedups(build: Mapping[str, Facts]) -> Figures:
    ways = {"with_trace": ("apply_s", "trace_s"), "with_ranking": ("ranked_s",)}
    return {
        f"build_speedup_{name}_{way}": _speedup(build.get(name), *parts)
        for name in BUILT
        for way, parts in ways.items()
    }


def _memory_ratio(facts: Facts) -> float | None:
    """Return the peak as a share of what is allowed: the candidate and a tenth of the dense."""
    if "torch_peak_bytes" not in facts:
        return None
    peak = facts["torch_peak_bytes"] + facts["python_peak_bytes"]
    return float(peak / (facts["candidate_bytes"] + 0.1 * facts["dense_bytes"]))
