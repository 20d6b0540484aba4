"""Trials that nobody made: what a search of some length may tell of them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from optuna.trial import TrialState

from autoprune.agent.samplers.attributes import PLACE, PREDICTED, REGRET, SCREENING
from autoprune.agent.samplers.proposal import PREQUENTIAL
from autoprune.predictor.prequential import Prediction, Reliability, Screening
from autoprune.storage.study_trials import ABANDONED

METHODS = ("channel.l1", "channel.l2", "channel.taylor")
LEVELS = tuple(level / 10 for level in range(10))
DENSE = 0.762  # quality of the dense model
FIRST = 20  # trials without a prediction


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A made-up trial: what it chose, how it ended, and what it told."""

    levels: tuple[int, ...]
    methods: tuple[int, ...]
    state: TrialState
    outcome: str
    score: float | None
    quality: float | None
    attributes: Mapping[str, Any]
    excess: float


def tried(count: int, units: int, rng: np.random.Generator) -> Iterator[Tried]:
    """Yield trials of a search that gets better: of 20 some did not come to their end."""
    predictions: list[Prediction] = []
    best = 9.0
    for number in range(count):
        levels = tuple(rng.integers(0, len(LEVELS), units).tolist())
        methods = tuple(rng.integers(0, len(METHODS), units).tolist())
        score = float(0.9 + 0.5 * rng.random() * np.exp(-number / count) + rng.normal(0, 0.02))
        told: dict[str, Any] = {"source": "allocation", PLACE: number + 1}
        if number >= FIRST:
            expected, width = score + rng.normal(0, 0.03), 0.05
            made = Prediction(expected, expected - width, expected + width, score)
            told[PREDICTED] = {"expected": expected, "low": made.low, "high": made.high}
            told[PREQUENTIAL] = asdict(Reliability.of(predictions))
            told[SCREENING] = asdict(Screening(best, int(rng.integers(0, 12)), False))
            predictions.append(made)
        state, outcome, excess = TrialState.COMPLETE, "scored", -0.01
        match number % 20:
            case 7:
                state, outcome = TrialState.PRUNED, "stopped: early stop, worse than the best"
            case 11:
                state, outcome = TrialState.FAIL, "failed: a loss is NaN"
            case 13:
                state, outcome = TrialState.FAIL, ABANDONED
            case 15:
                excess = 0.02
            case 17:
                told |= {"source": "rollback", REGRET: {"reverted": number % 40 == 17}}
        done = state == TrialState.COMPLETE
        quality = DENSE - 0.2 * (score - 0.85)
        best = min(best, score) if done and excess <= 0 else best
        yield Tried(
            levels=levels,
            methods=methods,
            state=state,
            outcome=outcome,
            score=score if done else None,
            quality=quality if done else None,
            attributes=told,
            excess=excess,
        )
