"""The note of a study, in Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.housing.described import UNITS
from autoprune.agent.samplers.proposal import PREQUENTIAL
from autoprune.artifacts.result import Rolledback
from autoprune.core.budget import Budget
from autoprune.core.heartbeat import progress_text
from autoprune.predictor.prequential import ENOUGH
from autoprune.reporting.comparisons import comparisons
from autoprune.reporting.dashboard.artifacts import Artifact
from autoprune.reporting.dashboard.notable import decision, policy_rows
from autoprune.reporting.dashboard.trials import Shown, is_failed, reverted_one
from autoprune.reporting.ledger_terminal import totals_line
from autoprune.reporting.markdown import rendered
from autoprune.reporting.text import amount_text
from autoprune.storage.study_trials import ABANDONED

_MOST = 20  # decisions of the ledger that are listed


def study_note(name: str, study_id: int, shown: Shown, artifacts: Sequence[Artifact]) -> str:
    """Return the note of a study.

    Args:
        name: What it is called.
        study_id: Its number in the database.
        shown: Its trials, and what is known of it.
        artifacts: Its files.
    """
    facts = shown.facts
    policies = facts.returned or [
        shown.policies[one.number] for one in shown.best if one.number in shown.policies
    ]
    result = facts.result
    return rendered(
        "optuna/study.md.j2",
        name=name,
        state=_state(shown),
        best=[_best(study_id, shown, one) for one in shown.best],
        inside_none=bool(_ended(shown)) and not shown.complete,
        comparisons=comparisons(result) if result else [],
        budget=list(_budget(shown)),
        policy=policy_rows(policies[0], facts.limits.spaces) if len(policies) == 1 else [],
        counts=list(_counts(shown)),
        predictor=_predictor(shown),
        ledger=[decision(one, facts.yardstick) for one in facts.ledger[::-1][:_MOST]],
        ledger_more=totals_line(Rolledback.of(facts.ledger), facts.yardstick),
        metric=facts.yardstick.metric,
        ours=UNITS in facts.told,
        artifacts=[(one.name, f"/artifacts/{study_id}/{one.id}") for one in artifacts],
    )


def _state(shown: Shown) -> str:
    listed = shown.facts.listed
    if listed is None:
        return (
            "No run of autoprune is known of this study, or another version wrote its tables "
            "(autoprune db check)."
        )
    at = [progress_text(one.status) for one in listed.living]
    config = listed.run.config
    parts = {
        "budget": ", ".join(f"{cost} {limit}" for cost, limit in config.get("budget", {}).items()),
        "task": config.get("task"),
        "sampler": config.get("sampler"),
        "trials": config.get("trials"),
        "seed": config.get("seed"),
    }
    told = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
    return f"{listed.state.capitalize()}{f' ({at[0]})' if at else ''}. Asked for: {told}."


def _best(study_id: int, shown: Shown, trial: FrozenTrial) -> dict[str, Any]:
    quality, yardstick = trial.user_attrs.get("quality"), shown.facts.yardstick
    found = "" if quality is None else f"{yardstick.metric} {yardstick.text(quality)}"
    told = f", {found} when it was scored" if found else ""
    return {
        "title": "Returned" if trial in shown.returned else "Best so far",
        "number": trial.number,
        "link": f"/dashboard/studies/{study_id}/trials?numbers={trial.number}",
        "text": f": score {trial.values[0]:.4g}{told}.",
    }


def _budget(shown: Shown) -> Iterator[tuple[str, str, str]]:
    limits = shown.facts.limits
    for cost, limit in limits.config.get("budget", {}).items() if limits.now else ():
        whole = Budget.parse({cost: limit}).limits
        (name,) = whole
        absolute = amount_text(name, whole[name].resolve(limits.dense[name]))
        aim = amount_text(name, limits.now[name]) if limits.lowered else "the limit"
        yield name, f"{limit} ({absolute})", aim


def _counts(shown: Shown) -> Iterator[tuple[str, int]]:
    trials = shown.trials
    abandoned = sum(one.user_attrs.get("outcome") == ABANDONED for one in trials)
    failed = sum(map(is_failed, trials))
    over = sum(one.state.is_finished() and not shown.is_inside(one) for one in trials)
    states = [one.state for one in trials]
    counts = {
        "scored": states.count(TrialState.COMPLETE),
        "stopped early, as worse": states.count(TrialState.PRUNED),
        "failed": failed,
        "given back": abandoned,
        "being scored, or left by a process that died": states.count(TrialState.RUNNING),
        "over the budget": over,
        "reverted a decision": sum(map(reverted_one, trials)),
    }
    yield from ((label, count) for label, count in counts.items() if count)


def _ended(shown: Shown) -> list[FrozenTrial]:
    return [one for one in shown.trials if one.state == TrialState.COMPLETE]


def _predictor(shown: Shown) -> str:
    """Return what predictions were worth so far, by the last trial that tells it."""
    told = (one.user_attrs.get(PREQUENTIAL) for one in reversed(shown.trials))
    last = next((one for one in told if isinstance(one, dict)), {})
    few = last.get("count", 0) < ENOUGH
    if few or last.get("spearman") is None or last.get("coverage") is None:
        return ""
    return (
        f"Predictor: of {last['count']} predicted scores {last['coverage']:.0%} fell inside their "
        f"90% interval; rank correlation {last['spearman']:.2f}."
    )
