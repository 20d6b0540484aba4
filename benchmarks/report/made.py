"""A made-up run in a real database, written by our own storage: no model is behind it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autoprune.agent.housing.workspace import (
    CHECKS,
    CONFIG,
    DATABASE,
    RESULT,
    SENSITIVITY,
    SESSIONS,
    STUDY,
)
from autoprune.agent.samplers.attributes import PREDICTED, REGRET
from autoprune.artifacts.result import (
    Checks,
    Measured,
    Predictions,
    Result,
    Rolledback,
    SearchCost,
    UnitChoice,
    UnitCut,
)
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Choice, Policy
from autoprune.core.stages import Stage
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.quick import Ending
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import ABANDONED, begin_trials, end_trials
from benchmarks.report.tried import DENSE, LEVELS, METHODS, Tried, tried

MACS, ATOMS = 4_000_000_000, 64  # of the dense model, of a unit
LOT = 100  # trials of one transaction


def make_run(
    folder: Path, trials: int, names: Sequence[str], seed: int = 0, finished: bool = True
) -> Result:
    """Write a run into a new folder as a search leaves it, and return its result.

    Of the trials some were stopped early, failed, were given back, were over the budget, or took
    a decision back.

    Args:
        folder: The folder; it is made.
        trials: How many trials, at least two.
        names: Names of the units.
        seed: Makes the numbers.
        finished: Whether the result is written too.
    """
    folder.mkdir(parents=True)
    config = {"budget": {"macs": "50%"}, "trials": trials, "seed": seed, "sampler": "budgeted"}
    settings: dict[str, Any] = {**config, "rollback": 0.5, "recovery": {"finalists": 3}}
    (folder / CONFIG).write_text(json.dumps(settings))
    made = list(tried(trials, len(names), np.random.default_rng(seed)))
    with Database.open(sqlite_url(folder / DATABASE)) as database:
        run = database.start_run(STUDY, settings, "m" * 64, "d" * 64)
        _keep(database, run, names)
        entries = _write_evaluations(database, run, made, names)
        Ledger(database, run).add_all(entries)
    _write_study(folder / DATABASE, made, names)
    result = _result(made, names, entries, seed)
    if finished:
        (folder / RESULT).write_text(result.to_json())
    return result


def _policy(one: Tried, names: Sequence[str]) -> Policy:
    chosen = zip(names, one.levels, one.methods, strict=True)
    return Policy({unit: Choice(METHODS[m], LEVELS[level]) for unit, level, m in chosen})


def _keep(database: Database, run: int, names: Sequence[str]) -> None:
    errors = {
        unit: {m: [0.01 * at * level for level in range(len(LEVELS))] for m in METHODS}
        for at, unit in enumerate(names, 1)
    }
    sparsities = {unit: list(LEVELS) for unit in names}
    content = {"errors": errors, "sample_forwards": 9_000.0, "seconds": 90.0}
    Runs(database).keep(run, SENSITIVITY, {**content, "sparsities": sparsities})
    Runs(database).keep(run, CHECKS, {"seconds": 12.5})
    place = {"runner": "local", "kind": "local", "workers": 1, "device": "cpu"}
    Runs(database).add_last(run, SESSIONS, {**place, "timeout": None, "joined": False})


def _write_evaluations(
    database: Database, run: int, made: Sequence[Tried], names: Sequence[str]
) -> list[LedgerEntry]:
    """Store what was scored and trained for longer; return the ledger, which is not stored yet."""
    found: dict[EvaluationKey, Evaluation] = {}
    entries: list[LedgerEntry] = []
    before: Evaluation | None = None
    for one in made:
        if one.outcome == ABANDONED:
            continue
        policy = _policy(one, names)
        now = Evaluation(policy, one.outcome, one.score, one.quality, 4_000.0, 5.0)
        found[EvaluationKey("m" * 64, "d" * 64, policy.fingerprint, "short")] = now
        if REGRET in one.attributes and before is not None and before.score and one.score:
            entries.append(_entry(before, now, names, one.attributes[REGRET]["reverted"]))
        before = now if one.score else before
    best = min((one for one in found.values() if one.score), key=lambda one: one.score or 0)
    stages = (Stage(1_000, 500, 0.8, (0.8,), DENSE - 0.004),)
    final = Evaluation(
        best.policy, "recovered", 0.8, DENSE - 0.004, 90_000.0, 400.0, stages=stages
    )
    found[EvaluationKey("m" * 64, "d" * 64, best.policy.fingerprint, "long")] = final
    database.record_evaluations(run, found)
    return entries


def _entry(
    before: Evaluation, after: Evaluation, names: Sequence[str], reverted: bool
) -> LedgerEntry:
    assert before.score is not None
    assert before.quality is not None
    return LedgerEntry(
        units=(names[0],),
        policy=before.policy,
        alternative=after.policy,
        outcome=Outcome.REVERTED if reverted else Outcome.NOISE,
        expected_regret=0.01,
        score_before=before.score,
        score_after=after.score,
        quality_before=before.quality,
        quality_after=after.quality,
        costs_before={"macs": MACS / 2},
        costs_after={"macs": MACS / 2},
        p_value=0.001 if reverted else 0.4,
        threshold=0.005,
        sample_forwards=4_000.0,
    )


def _write_study(file: Path, made: Sequence[Tried], names: Sequence[str]) -> None:
    drawn: dict[str, BaseDistribution] = {}
    for unit in names:
        drawn[f"level:{unit}"] = IntDistribution(0, len(LEVELS) - 1)
        drawn[f"method:{unit}"] = CategoricalDistribution(METHODS)
    study = open_study(sqlite_url(file), STUDY)
    for start in range(0, len(made), LOT):
        lot = made[start : start + LOT]
        params = [
            {f"level:{unit}": level for unit, level in zip(names, one.levels, strict=True)}
            | {f"method:{unit}": METHODS[m] for unit, m in zip(names, one.methods, strict=True)}
            for one in lot
        ]
        excess = [{"macs": one.excess} for one in lot]
        begun = begin_trials(study, params, drawn, [one.attributes for one in lot], excess)
        end_trials(study, [_ending(t._trial_id, one) for t, one in zip(begun, lot, strict=True)])
    close_study(study)


def _ending(trial: int, one: Tried) -> Ending:
    macs = int(MACS * 0.5 * (1 + one.excess))
    told = {"outcome": one.outcome, "quality": one.quality, "costs": {"macs": macs, "params": 7}}
    values = [] if one.score is None else [one.score]
    return Ending(trial_id=trial, state=one.state, values=values, attributes=told)


def _result(
    made: Sequence[Tried], names: Sequence[str], entries: Sequence[LedgerEntry], seed: int
) -> Result:
    best = min((one for one in made if one.score), key=lambda one: one.score or 0)
    policy = _policy(best, names)
    predicted = [one for one in made if PREDICTED in one.attributes and one.score]
    return Result(
        task="classification",
        metric="top-1",
        dense=_measured(DENSE, MACS, 25_000_000),
        pruned=_measured(DENSE - 0.004, MACS // 2 - 1_000, 12_000_000),
        policy={u: UnitChoice(method=c.method, sparsity=c.sparsity) for u, c in policy.items()},
        cuts=[_cut(unit, policy.get(unit)) for unit in names],
        budget={"macs": "50%"},
        search=SearchCost(
            evaluations=len(made),
            sample_forwards=4_000.0 * len(made) + 100_000,
            seconds=5.0 * len(made) + 490,
            seed=seed,
            sampler="budgeted",
            predictions=Predictions(count=len(predicted), spearman=0.5, coverage=0.9),
            rollback=Rolledback.of(entries),
        ),
        checks=Checks(
            sliced_equals_masked=True,
            reload_max_diff=0.0,
            onnx_max_diff=1e-7,
            budget_met=True,
        ),
        versions={"autoprune": "0.1.0", "torch": "2.8"},
    )


def _measured(quality: float, macs: int, params: int) -> Measured:
    return Measured(
        quality_search=quality,
        quality_test=quality - 0.003,
        macs=macs,
        params=params,
        memory_bytes=8_000_000,
        sparse_macs=macs,
        size_bytes=4 * params,
        sparse_size_bytes=4 * params,
    )


def _cut(unit: str, choice: Choice | None) -> UnitCut:
    if choice is None:
        return UnitCut(unit=unit, atoms=ATOMS, kept=ATOMS, method=None, macs_saved=0)
    gone = round(ATOMS * choice.sparsity)
    saved = round(MACS * choice.sparsity / 100)
    return UnitCut(
        unit=unit, atoms=ATOMS, kept=ATOMS - gone, method=choice.method, macs_saved=saved
    )
