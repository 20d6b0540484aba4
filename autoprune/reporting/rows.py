"""What every report of a result says, as rows of text."""

from autoprune.artifacts.result import LatencyCheck, ProgressiveStep, Result, UnitCut
from autoprune.core.budget import Budget
from autoprune.reporting.text import amount_text


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
