"""What every report of a result says, as rows of text."""

from dataclasses import dataclass

from autoprune.artifacts.front import Front
from autoprune.artifacts.result import (
    LatencyCheck,
    Predictions,
    ProgressiveStep,
    Result,
    Rolledback,
    UnitCut,
)
from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY
from autoprune.core.yardstick import Yardstick
from autoprune.reporting.text import count_text, share_text

_BYTES = ("size", "memory", "sparse_size")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of the dense and of the pruned model."""

    label: str
    dense: str
    pruned: str
    change: str


def comparisons(result: Result) -> list[Comparison]:
    """Return quality on both splits, then the costs; 1 MAC = 2 FLOPs."""
    dense, pruned, yardstick = result.dense, result.pruned, result.yardstick
    qualities = (
        ("search split", dense.quality_search, pruned.quality_search),
        ("test split", dense.quality_test, pruned.quality_test),
    )
    macs = "MACs (1 MAC = 2 FLOPs)"
    if result.uncounted:
        macs = f"MACs at least, without {', '.join(result.uncounted)}"
    costs: tuple[tuple[str, int, int, str], ...] = (
        (macs, dense.macs, pruned.macs, ""),
        ("parameters", dense.params, pruned.params, ""),
        ("file size", dense.size_bytes, pruned.size_bytes, "B"),
        ("activation memory, one sample", dense.memory_bytes, pruned.memory_bytes, "B"),
    )
    if pruned.sparse_macs < pruned.macs or pruned.sparse_size_bytes < pruned.size_bytes:
        costs += (
            ("MACs without zero weights", dense.sparse_macs, pruned.sparse_macs, ""),
            (
                "size if zeros are not stored",
                dense.sparse_size_bytes,
                pruned.sparse_size_bytes,
                "B",
            ),
        )
    rows = [
        Comparison(
            f"{result.metric}, {split}",
            yardstick.text(a),
            yardstick.text(b),
            yardstick.change(a, b),
        )
        for split, a, b in qualities
    ]
    rows += [
        Comparison(label, count_text(a, unit), count_text(b, unit), f"{share_text(b, a)} of dense")
        for label, a, b, unit in costs
    ]
    rows += [
        Comparison(cost, count_text(a, ""), count_text(b, ""), f"{share_text(b, a)} of dense")
        for cost, a in dense.parts.items()
        for b in [pruned.parts[cost]]
    ]
    return rows + [
        Comparison(f"latency, {target}", _ms(a), _ms(b), f"{b / a:.1%} of dense")
        for target, a in dense.latency_ms.items()
        if (b := pruned.latency_ms.get(target)) is not None
    ]


def _ms(value: float) -> str:
    return f"{value:.3g} ms"


def amount_text(cost: str, value: float) -> str:
    """Return an amount of a cost with its unit."""
    if cost.startswith(LATENCY):
        return _ms(value)
    return count_text(int(value), "B" if cost in _BYTES else "")


def budget_rows(result: Result) -> list[tuple[str, str, str, bool]]:
    """Return cost, limit, what the pruned model uses, and whether that is inside."""
    limits = Budget.parse(result.budget)
    used = result.pruned.costs.as_dict()
    absolute = limits.resolve(result.dense.costs)
    return [
        (
            cost,
            f"{limit} ({amount_text(cost, absolute[cost])})",
            amount_text(cost, used[cost]),
            used[cost] <= absolute[cost],
        )
        for cost, limit in limits.limits.items()
    ]


def check_rows(result: Result) -> list[tuple[str, str]]:
    """Return each check and its outcome."""
    checks = result.checks
    return [
        ("sliced model equals masked model", "yes" if checks.sliced_equals_masked else "NO"),
        ("largest difference after reloading", f"{checks.reload_max_diff:.1e}"),
        (
            "largest difference in ONNX",
            "not exported" if checks.onnx_max_diff is None else f"{checks.onnx_max_diff:.1e}",
        ),
        ("budget met", "yes" if checks.budget_met else "NO"),
        *((f"latency by dense, {target}", _pairs(one)) for target, one in checks.latency.items()),
    ]


def _pairs(check: LatencyCheck) -> str:
    """Return the ratio with its interval, and how it was measured."""
    busy = "; the device was busy" if check.busy else ""
    interval = f"{check.low:.1%} to {check.high:.1%}"
    return f"{check.ratio:.1%} (95%: {interval}), {check.pairs} pairs{busy}"


def bar(cut: UnitCut, width: int = 20) -> str:
    """Return the kept share of a unit's atoms as a bar of ``width`` characters."""
    full = round(width * cut.kept / cut.atoms) if cut.atoms else 0
    full = min(max(full, cut.kept > 0), width - (cut.kept < cut.atoms))
    return "█" * full + "░" * (width - full)


STEPS = ("after steps", "cut to", "quality", "tries", "outcome")


def step_rows(result: Result) -> list[tuple[str, ...]]:
    """Return a row for each step of a progressive run; none if there was none."""
    return [
        (
            str(step.training_steps),
            ", ".join(f"{share:.0%} of {cost}" for cost, share in step.used.items()),
            _quality(step, result),
            str(step.attempts),
            step.outcome,
        )
        for step in result.steps
    ]


def _quality(step: ProgressiveStep, result: Result) -> str:
    found = step.quality_search
    return "" if found is None else result.yardstick.text(found)


_ENOUGH = 10  # predictions that are worth a sentence


def effort_line(result: Result | Front) -> str:
    """Return what the search cost, in one sentence."""
    cost = result.search
    told = {"stopped early": cost.stopped, "paid for by other runs": cost.reused}
    parts = ", ".join(f"{count} {what}" for what, count in told.items() if count)
    return (
        f"{cost.evaluations} evaluations{f' ({parts})' if parts else ''}, "
        f"{count_text(round(cost.sample_forwards))} sample forwards, "
        f"{cost.seconds:.0f} s of scoring and training, summed over workers, "
        f"sampler {cost.sampler}, seed {cost.seed}."
        f"{_predictions(cost.predictions)}{_rollback(cost.rollback, result.yardstick)}"
        f"{_warm_start(cost.warm_start)}"
    )


def _rollback(found: Rolledback, yardstick: Yardstick) -> str:
    """Return what became of the decisions that were examined; nothing if none was."""
    if not found.examined:
        return ""
    moved = f"{yardstick.metric} {yardstick.gain(found.quality_regained)}"
    gained = f" ({moved})" if found.reverted else ""
    return f" Of {found.examined} decisions examined, {found.reverted} reverted{gained}."


def _warm_start(evaluations: int) -> str:
    """Return what the search started from, a sentence; nothing if it started cold."""
    plural = "s" if evaluations > 1 else ""
    return f" Warm start from {evaluations} earlier evaluation{plural}." if evaluations else ""


def _predictions(found: Predictions) -> str:
    """Return what predictions were worth and saved; nothing if there were too few to tell."""
    if found.count < _ENOUGH or found.spearman is None or found.coverage is None:
        return ""
    return (
        f" Of {found.count} predicted scores, {found.coverage:.0%} fell inside their 90% "
        f"interval; rank correlation {found.spearman:.2f}.{_spared(found)}"
    )


def _spared(found: Predictions) -> str:
    """Return what was not evaluated because of predictions, and how that was audited."""
    if not found.spared:
        return ""
    said = f" {found.spared} candidates were not scored, as by prediction they could not beat the "
    if found.wrong_at_most is None:
        return f"{said}best; none of that kind was scored to audit it."
    return (
        f"{said}best; of {found.audited} of that kind scored all the same, {found.wrong} did "
        f"(95% confidence: at most {found.wrong_at_most:.0%} do)."
    )
