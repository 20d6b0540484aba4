"""Several runs as a table: what each was asked, what came out, and whether its checks passed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.artifacts.result import LatencyCheck, Measured
from autoprune.reporting.asked_limits import beside_front
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.page.parts import Table
from autoprune.reporting.reproduce import limits_written
from autoprune.reporting.story import checks_passed
from autoprune.reporting.text import ms_text, share_text

_FIGURES = ("metric", "dense", "pruned", "change", "MACs of dense", "params of dense")
_TOLD = ("sampler", "seed", "checks")


def compared_table(runs: Sequence[RunEvidence]) -> Table:
    """Return the headline figures of several runs, a row for each.

    Of a front they are those of its smallest and of its largest model.
    """
    targets = sorted({target for run in runs for one in _models(run) for target in one.latency})
    latencies = [f"latency, {target} (of dense)" for target in targets]
    numbers = ("evaluations", *_FIGURES, *latencies, "seed")
    names = ("run", "state", "asked", "evaluations", *_FIGURES, *latencies, *_TOLD)
    return Table(names, [_row(run, targets) for run in runs], numbers)


@dataclass(frozen=True)
class _Model:
    """A model that was returned: its figures, and how its latency was measured, by target."""

    measured: Measured
    latency: Mapping[str, LatencyCheck]


def _models(run: RunEvidence) -> list[_Model]:
    """Return what a run returned, the smallest first."""
    if run.result is not None:
        return [_Model(run.result.pruned, run.result.checks.latency)]
    points = run.front.points if run.front else []
    kept = {name: one.checks.latency for name, one in run.points.items()}
    return [_Model(one.pruned, kept.get(one.folder, {})) for one in points]


def _row(run: RunEvidence, targets: Sequence[str]) -> tuple[str, ...]:
    count = str(run.told.search.evaluations if run.told else len(run.trials))
    sampler, seed = (str(run.settings.get(name, "")) for name in ("sampler", "seed"))
    return (
        *(run.name, _state(run), _asked(run), count, *_figures(run)),
        *(_ends([_latency(one, target) for one in _models(run)]) for target in targets),
        *(sampler, seed, _checks(run)),
    )


def _state(run: RunEvidence) -> str:
    if run.front is None:
        return run.state
    points = len(run.front.points)
    return f"{run.state}, a front of {points} point{'' if points == 1 else 's'}"


def _asked(run: RunEvidence) -> str:
    """Return what was aimed at, and the limits."""
    aim = run.settings.get("pareto") or run.settings.get("tolerance")
    limits = ", ".join(limits_written(beside_front(run.settings)))
    return "; ".join(str(one) for one in (aim, limits) if one)


def _figures(run: RunEvidence) -> tuple[str, ...]:
    """Return metric, qualities on the test split, change and costs; empty without a model."""
    models = [one.measured for one in _models(run)]
    if run.told is None or not models:
        return (run.metric if run.told else "", *([""] * (len(_FIGURES) - 1)))
    dense, yardstick = run.told.dense, run.told.yardstick
    quality = dense.quality_test
    return (
        run.metric,
        yardstick.text(quality),
        _ends([yardstick.text(one.quality_test) for one in models]),
        _ends([yardstick.change(quality, one.quality_test) for one in models]),
        _ends([share_text(one.macs, dense.macs) for one in models]),
        _ends([share_text(one.params, dense.params) for one in models]),
    )


def _latency(model: _Model, target: str) -> str:
    check = model.latency.get(target)
    return "" if check is None else f"{ms_text(check.pruned_ms)} ({share_text(check.ratio, 1.0)})"


def _ends(texts: Sequence[str]) -> str:
    """Return the first and the last one, once if they are alike."""
    known = [text for text in texts if text]
    return " to ".join(dict.fromkeys(known[at] for at in (0, -1))) if known else ""


def _checks(run: RunEvidence) -> str:
    results = [run.result] if run.result else list(run.points.values())
    if not results:
        return ""
    return "passed" if all(map(checks_passed, results)) else "FAILED"
