"""Predictions of a whole table from a search's first evaluations: where nobody was led to."""

from dataclasses import asdict
from typing import Any

import numpy as np

from autoprune.agent.samplers.belief import Forecaster
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.pool import Pool
from autoprune.core.arrays import Floats
from autoprune.predictor.prequential import Prediction, Reliability
from benchmarks.isolated import Note
from benchmarks.predictor.searched import AFTER
from benchmarks.search.tabled import errors_of, gaps_of, opened, sampler_of, study_of


def judge(note: Note, table: str, sampler: str, seeds: int, first: int) -> None:
    """Predict all policies of a table that 30 evaluations of a search left out.

    Intervals of samplers that predict nothing are as wide as the predictor says, those of ours as
    its own predictions proved right so far.

    Args:
        note: Told ``rest``, what these predictions were worth, by seed.
        table: Name of the table.
        sampler: Name of the sampler that proposed the 30.
        seeds: How many seeds.
        first: The first seed.
    """
    objective = opened(table)
    whole, errors = objective.table, errors_of(objective)
    found: list[Any] = []
    for seed in range(first, first + seeds):
        made = sampler_of(objective, sampler, seed, errors)
        study = study_of(made)
        gaps_of(objective, study, made, AFTER)
        known = History(made.encoding).read(study)
        belief = Forecaster(Pool.of(made.projection, made.encoding, errors)).belief(known)
        assert belief is not None
        levels, methods = (part.astype(np.int64) for part in (whole.levels, whole.codes))
        rows = made.encoding.join(levels, methods)
        rest = np.array([row.tobytes() not in known.tried for row in rows])
        scores = -whole.quality[rest, :1].astype(float)
        found.append(asdict(_worth(belief.intervals(rows[rest]), scores)))
        note(rest=found)


def _worth(intervals: Floats, scores: Floats) -> Reliability:
    told = np.concatenate([intervals, scores], axis=1).tolist()
    return Reliability.of([Prediction(*one) for one in told])
