"""User attributes of trials by which samplers and loops tell each other what they know."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.samplers.known import Examined
from autoprune.predictor.prequential import Prediction

PREDICTED = "predicted"  # what was expected of a policy
EXAMINES = "examines"  # the decision that it is an alternative to
REGRET = "regret"  # what came of such an alternative
SCREENING = "screening"  # what was spared for it
PLACE = "ended as"  # how many trials had ended when it had, itself included
COEFFICIENTS = "coefficients"  # of the units' errors, under which it was allocated
AGAIN = "again"  # set where a trial has a policy that another one was begun with and gave back
_EXPECTED = {"expected", "low", "high"}


def place_of(trial: FrozenTrial) -> int:
    """Return the place of a trial among those that ended; 0 if it was not told any."""
    said = trial.user_attrs.get(PLACE)
    return said if type(said) is int else 0


def prediction_of(trial: FrozenTrial, score: float) -> Prediction | None:
    """Return what was expected of a trial, with its score; None without either."""
    said = trial.user_attrs.get(PREDICTED)
    if not isinstance(said, dict) or said.keys() != _EXPECTED or math.isnan(score):
        return None  # users may call an attribute of theirs the same
    return Prediction(**said, score=score)


def coefficients_of(trial: FrozenTrial) -> tuple[float, ...]:
    """Return the coefficients under which a trial's policy was allocated; empty without any."""
    said = trial.user_attrs.get(COEFFICIENTS)
    if not isinstance(said, list) or not all(isinstance(one, float) for one in said):
        return ()  # users may call an attribute of theirs the same
    return tuple(said)


def examined_by(attributes: Mapping[str, Any], encoding: Encoding) -> Examined | None:
    """Return the decision that a trial has an alternative to, by its user attributes."""
    said = attributes.get(EXAMINES)
    if not isinstance(said, dict) or said.keys() != {"row", "units"}:
        return None  # users may call an attribute of theirs the same
    if not all(
        isinstance(one, list) and all(type(n) is int for n in one) for one in said.values()
    ):
        return None
    row, units = np.array(said["row"], np.int64), tuple(said["units"])
    known = encoding.has(row) and all(0 <= unit < encoding.units for unit in units)
    return Examined(row, units, bool(was_reverted(attributes))) if known else None


def was_reverted(attributes: Mapping[str, Any]) -> bool | None:
    """Tell whether a trial reverted a decision; None if it examined none, or is not judged."""
    came = attributes.get(REGRET)
    return bool(came.get("reverted")) if isinstance(came, dict) else None


def expected_of(attributes: Mapping[str, Any]) -> float | None:
    """Return the score that was expected of a trial, by its user attributes; None without one."""
    said = attributes.get(PREDICTED)
    return float(said["expected"]) if isinstance(said, dict) and "expected" in said else None
