"""What a proposal costs where ten thousand trials are stored, and the memory that takes."""

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import optuna

from autoprune.agent.loop.trials import Told, ask_all, tell_all
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import Start, make_sampler
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study
from benchmarks.isolated import Note
from benchmarks.scale.driver import space
from benchmarks.scale.simulate import memory
from benchmarks.search.overhead import fill, score

_WARM = 2  # times before time is taken: the first reads what is stored and fits variances


def ask(
    note: Note,
    size: int = 10_000,
    times: int = 30,
    pending: int = 1_000,
    batch: int = 32,
    units: int = 50,
) -> None:
    """Ask a study in a SQLite file for policies: one at a time, then some while many are scored.

    Args:
        note: Told the facts: ``first_ms``, of the first proposal, which reads all; ``alone_ms``
            and ``alone_processor_ms``, medians of one proposal; ``batch_ms`` and
            ``batch_processor_ms``, of one of ``batch``, with ``pending`` policies being scored;
            ``rss_mb``, ``own_mb``, as of `simulate.simulate`.
        size: Trials that the study holds already.
        times: How often each is measured.
        pending: Policies that are being scored.
        batch: Proposals that are asked for together.
        units: Layers of the chain that is searched.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    sampler = make_sampler("budgeted", Start(projection=space(units), seed=0))
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        study = open_study(sqlite_url(Path(folder) / "study.db"), "ask", sampler=sampler)
        fill(study, sampler, rng, size)
        alone = 1e3 * np.array([_asked(study, sampler, rng, 1) for _ in range(times + _WARM)])
        note(first_ms=float(alone[0, 0]), **_medians("alone", alone[_WARM:]), **memory())
        ask_all(study, sampler, pending)
        many = [_asked(study, sampler, rng, batch) for _ in range(times // 3 + 1)]
        note(**_medians("batch", 1e3 * np.array(many[1:]) / batch), **memory())
        close_study(study)


def _medians(name: str, took: np.ndarray) -> dict[str, float]:
    wall, processor = np.median(took, axis=0).tolist()
    return {f"{name}_ms": wall, f"{name}_processor_ms": processor}


def _asked(
    study: optuna.Study, sampler: PolicySampler, rng: np.random.Generator, count: int
) -> tuple[float, float]:
    """Return the seconds that it took to ask, by wall and by processor, and end what was asked."""
    start, busy = time.perf_counter(), time.process_time()
    asked = ask_all(study, sampler, count)
    took = time.perf_counter() - start, time.process_time() - busy
    told = []
    for trial, params in asked:
        row = sampler.encoding.row(params)
        value = score(sampler.encoding, row, rng)
        found = Evaluation(sampler.encoding.policy(row), "scored", value, -value, 0.0, 0.0)
        told.append(Told(trial, found, sampler.projection.costs_of(found.policy).as_dict()))
    tell_all(told)
    return took
