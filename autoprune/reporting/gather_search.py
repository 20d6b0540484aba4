"""The evidence of a search itself: what was tried, trained for longer, measured, and spent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.evaluating.outcomes import OUTRUN, RECOVERED
from autoprune.agent.samplers.attributes import SCREENING, prediction_of, was_reverted
from autoprune.agent.samplers.history import when_ended
from autoprune.agent.samplers.proposal import PREQUENTIAL
from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Result
from autoprune.reporting.aimed_limits import AimedLimits
from autoprune.reporting.evidence import (
    Evaluated,
    Fate,
    Finalist,
    LatencyTable,
    Sensed,
    Spent,
)
from autoprune.reporting.secrets import without_secrets
from autoprune.storage.records import Evaluation
from autoprune.storage.study_trials import ABANDONED


def evaluated(trials: Iterable[FrozenTrial], limits: AimedLimits) -> list[Evaluated]:
    """Return trials in the order in which they came to their end, those that run last.

    Args:
        trials: Trials of a study, with their parameters if anything was measured.
        limits: Its limits.
    """
    ordered = sorted(trials, key=lambda one: (not one.state.is_finished(), when_ended(one)))
    return [_evaluated(one, limits) for one in ordered]


def _evaluated(trial: FrozenTrial, limits: AimedLimits) -> Evaluated:
    told = trial.user_attrs
    scored = trial.state == TrialState.COMPLETE and trial.values is not None
    score = trial.values[0] if scored else None
    screening = told.get(SCREENING)
    return Evaluated(
        number=trial.number,
        fate=_fate(trial, limits),
        said=without_secrets(str(told.get("outcome", ""))),
        source=str(told.get("source", "")),
        score=score,
        quality=told.get("quality"),
        costs=dict(told.get("costs") or {}),
        spared=screening.get("spared", 0) if isinstance(screening, dict) else 0,
        prediction=None if score is None else prediction_of(trial, score),
        record=told.get(PREQUENTIAL),
    )


def _fate(trial: FrozenTrial, limits: AimedLimits) -> Fate:
    told, state = trial.user_attrs, trial.state
    if not state.is_finished():
        return "running"
    if told.get("outcome") == ABANDONED:
        return "given back"
    if state == TrialState.FAIL:
        return "failed"
    policy = limits.policy(trial) if limits.measured else None
    if any(excess > 0 for excess in limits.excess(trial, policy).values()):
        return "infeasible"
    if state == TrialState.PRUNED:
        return "stopped"
    return "reverted" if was_reverted(told) else "scored"


def _is_final(evaluation: Evaluation) -> bool:
    return evaluation.outcome.startswith((RECOVERED, OUTRUN))


def finalists(evaluations: Iterable[Evaluation]) -> list[Finalist]:
    """Return what was fine-tuned for longer, among all that a run stored."""
    return [_finalist(one) for one in evaluations if _is_final(one)]


def _finalist(found: Evaluation) -> Finalist:
    last = found.stages[-1] if found.stages else None
    quality = found.quality
    if quality is None and last is not None:
        quality = last.quality
    return Finalist(
        policy=found.policy.fingerprint,
        done=found.outcome == RECOVERED,
        said=without_secrets(found.outcome),
        score=found.score,
        quality=quality,
        steps=last.steps if last else 0,
        seconds=found.seconds,
        sample_forwards=found.sample_forwards,
    )


def sensed(kept: Mapping[str, Any]) -> Sensed:
    """Return the sensitivity table that a run kept."""
    return Sensed(errors=kept.get("errors", {}), sparsities=kept.get("sparsities", {}))


def latency_tables(
    kept: Mapping[str, Any], result: Result | None, trials: Sequence[Evaluated]
) -> list[LatencyTable]:
    """Return what a run kept of latencies, by target, beside what it says of the result."""
    return [_table(target, saved, result, trials) for target, saved in kept.items()]


def _table(
    target: str, saved: Mapping[str, Any], result: Result | None, trials: Sequence[Evaluated]
) -> LatencyTable:
    return LatencyTable(
        target=target,
        device=dict(saved["device"]["facts"]),
        fingerprint=saved["device"]["fingerprint"],
        layers=sum(len(grid["seconds"]) for grid in saved["grids"].values()),
        models=saved["fit"]["models"],
        error=saved["fit"]["error"],
        predicted_ms=_predicted(f"latency@{target}", result, trials),
    )


def _predicted(cost: str, result: Result | None, trials: Sequence[Evaluated]) -> float | None:
    """Return what the table says of the result: what of the same shapes was tried is told."""
    if result is None:
        return None
    exact = {"macs": result.pruned.macs, "params": result.pruned.params}
    same = (one.costs for one in trials if exact.items() <= one.costs.items())
    return next((own[cost] for own in same if cost in own), None)


def spent(
    evaluations: Sequence[Evaluation],
    table: Mapping[str, Any],
    progressive: Mapping[str, float],
    told: Result | Front | None,
    checked: float | None,
) -> list[Spent]:
    """Return where the time went, in the order in which it did.

    Args:
        evaluations: All that the run stored.
        table: The sensitivity table that it kept.
        progressive: What its progressive runs took, ``seconds`` and ``sample_forwards``.
        told: Its result or front, if there is one.
        checked: Seconds that the test split and the checks took; None if nobody wrote that down.
    """
    finals = [one for one in evaluations if _is_final(one)]
    scores = [one for one in evaluations if not _is_final(one)]
    trained = {} if progressive["seconds"] else _sums(finals)
    parts = {
        "sensitivity table": {name: float(table.get(name, 0.0)) for name in progressive},
        "scoring policies": _sums(scores),
        "fine-tuning finalists": trained or dict(progressive),
    }
    known = [Spent(part=part, **sums) for part, sums in parts.items()]
    if told is None:
        return known
    rest = told.search.sample_forwards - sum(one.sample_forwards or 0.0 for one in known)
    ranking = Spent(part="ranking atoms", seconds=None, sample_forwards=max(rest, 0.0))
    checks = Spent(part="test split and checks", seconds=checked, sample_forwards=None)
    return [ranking, *known, checks]


def _sums(evaluations: Iterable[Evaluation]) -> dict[str, float]:
    found = list(evaluations)
    return {
        name: float(sum(getattr(one, name) for one in found))
        for name in ("seconds", "sample_forwards")
    }
