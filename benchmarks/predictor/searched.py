"""Searches of a table with the predictor, and the same searches without it."""

from dataclasses import asdict
from typing import Any

import optuna

from autoprune.agent.loop.trials import reliability
from autoprune.agent.samplers.attributes import prediction_of
from autoprune.predictor.prequential import Reliability
from benchmarks.isolated import Note
from benchmarks.search.tabled import errors_of, gaps_of, opened, sampler_of, study_of

WITH, WITHOUT = "budgeted", "no_predictor"
AFTER = 30  # evaluations, from which on predictions are judged


def compare(note: Note, table: str, seeds: int, trials: int, first: int) -> None:
    """Search with the predictor and without it, with several seeds.

    Args:
        note: Told the facts, lists by seed: by sampler, points that the best policy so far is
            below the best of the table after each evaluation; ``whole``, what predictions were
            worth and what screening saved; ``late``, what those after 30 evaluations were worth.
        table: Name of the table.
        seeds: How many seeds.
        trials: Evaluations of each search.
        first: The first seed.
    """
    objective = opened(table)
    errors = errors_of(objective)
    facts: dict[str, list[Any]] = {name: [] for name in (WITH, WITHOUT, "whole", "late")}
    for seed in range(first, first + seeds):
        for name in (WITH, WITHOUT):
            sampler = sampler_of(objective, name, seed, errors)
            study = study_of(sampler)
            facts[name].append(gaps_of(objective, study, sampler, trials))
            if name == WITH:
                facts["whole"].append(reliability(study).model_dump())
                facts["late"].append(asdict(_late(study)))
        note(**facts)


def _late(study: optuna.Study) -> Reliability:
    scored = [(t, t.value) for t in study.trials[AFTER:] if t.value is not None]
    made = (prediction_of(trial, value) for trial, value in scored)
    return Reliability.of([one for one in made if one is not None])
