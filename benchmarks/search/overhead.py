"""What proposing costs: the time from one score to the next evaluation, by trials so far."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json as json_of
from optuna.storages._rdb.models import TrialModel, TrialParamModel
from optuna.storages._rdb.models import TrialValueModel as ValueModel
from optuna.trial import TrialState

from autoprune.agent.feasible.encoding import Encoding, Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.trials import ask, tell
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import Start, make_sampler
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study
from autoprune.testing.chains import chain
from benchmarks.isolated import Note

Clocks = tuple[float, float]  # wall, processor
METHODS = ("channel.l1", "channel.l2", "channel.taylor")
SIZES = (100, 1_000, 10_000)  # trials that a study holds already
WARM = 2  # trials before time is taken: the first reads what is stored and fits variances


def measure(
    note: Note,
    units: int = 50,
    levels: int = 15,
    sizes: Sequence[int] = SIZES,
    trials: int = 30,
    sampler: str = "budgeted",
) -> None:
    """Measure what a trial costs beside its evaluation, in a study in a SQLite file.

    Args:
        note: Told the facts, lists by size: ``sizes``; ``ms``, the mean of asking and telling;
            ``processor_ms``, processor time of that, which other work does not stretch;
            ``worst_ms``, of the slowest trial; ``first_ms``, of the first trial after the study
            was opened, which reads all that is stored and fits the predictor's variances.
        units: Layers of a chain.
        levels: Levels of each.
        sizes: Trials that the study holds already.
        trials: Trials measured at each size.
        sampler: Name of the sampler.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    projection = _projection(units, levels)
    names = ("sizes", "ms", "processor_ms", "worst_ms", "first_ms")
    facts: dict[str, list[float]] = {name: [] for name in names}
    for size in sizes:
        took, busy = 1e3 * np.array(_timed(projection, sampler, size, trials)).T
        means = (float(one[WARM:].mean()) for one in (took, busy))
        found = (size, *means, float(took[WARM:].max()), float(took[0]))
        for name, value in zip(facts, found, strict=True):
            facts[name].append(value)
        note(**facts)


def _projection(units: int, levels: int) -> Projection:
    width = 4 * (levels + 1)
    kept = {f"u{number}": range(width, width - 4 * levels, -4) for number in range(units)}
    return chain(kept, "macs=50%", METHODS)


def _timed(projection: Projection, name: str, size: int, trials: int) -> list[Clocks]:
    """Return the seconds that each trial took beside its evaluation, by both clocks."""
    sampler = make_sampler(name, Start(projection=projection, seed=0))
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        study = open_study(sqlite_url(Path(folder) / "study.db"), "overhead", sampler=sampler)
        fill(study, sampler, rng, size)
        found = [_step(study, sampler, rng) for _ in range(WARM + trials)]
        close_study(study)
    return found


def _step(study: optuna.Study, sampler: PolicySampler, rng: np.random.Generator) -> Clocks:
    start, busy = time.perf_counter(), time.process_time()
    trial, params = ask(study, sampler)
    row = sampler.encoding.row(params)
    value = score(sampler.encoding, row, rng)
    found = Evaluation(sampler.encoding.policy(row), "scored", value, -value, 0.0, 0.0)
    levels = sampler.projection.levels(sampler.encoding.split(row)[0])
    tell(trial, found, sampler.projection.price(levels).as_dict())
    return time.perf_counter() - start, time.process_time() - busy


def fill(study: optuna.Study, sampler: PolicySampler, rng: np.random.Generator, size: int) -> None:
    """Store trials that ended, a tenth failed; ``study.add_trials`` would take an hour of 10,000.

    Args:
        study: An empty study in a SQLite file.
        sampler: What says which parameters there are.
        rng: Draws them.
        size: How many trials.
    """
    encoding, written = sampler.encoding, {n: json_of(d) for n, d in sampler.space.items()}
    tables: dict[Any, list[dict[str, Any]]] = {TrialModel: [], TrialParamModel: [], ValueModel: []}
    began = datetime(2026, 1, 1)
    for number, row in enumerate(_feasible(sampler, rng, size)):
        trial, failed = {"trial_id": number + 1}, rng.random() < 0.1
        when = {"datetime_start": began, "datetime_complete": began + timedelta(seconds=number)}
        state = TrialState.FAIL if failed else TrialState.COMPLETE
        about = {"number": number, "study_id": study._study_id, "state": state}
        tables[TrialModel].append(trial | about | when)
        for name, value in encoding.params(row).items():
            stored = sampler.space[name].to_internal_repr(value)
            one = {"param_name": name, "param_value": stored, "distribution_json": written[name]}
            tables[TrialParamModel].append(trial | one)
        if not failed:
            told = {"objective": 0, "value": score(encoding, row, rng)}
            tables[ValueModel].append(
                trial | told | {"value_type": ValueModel.TrialValueType.FINITE}
            )
    storage: Any = study._storage
    with storage._backend.engine.begin() as connection:
        for model, rows in tables.items():
            connection.execute(model.__table__.insert(), rows)


def _feasible(sampler: PolicySampler, rng: np.random.Generator, size: int) -> Rows:
    encoding = sampler.encoding
    levels, methods = encoding.split(encoding.random(rng, size))
    tops = encoding.levels - 1
    deep = np.maximum(levels, np.rint(tops * rng.uniform(0.15, 0.65, (size, 1))).astype(np.int64))
    while (outside := ~sampler.projection.meets(deep)).any():
        deep[outside] = np.minimum(deep[outside] + 1, tops)
    return encoding.join(deep, methods)


def score(encoding: Encoding, row: Rows, rng: np.random.Generator) -> float:
    """Return a score: squares of what is removed, by unit, and noise."""
    removed = encoding.removed(row[None])[0]
    weights = 1 + np.arange(encoding.units) % 7
    return float((weights * removed**2).sum() / encoding.units + 0.05 * rng.random() + 0.1)
