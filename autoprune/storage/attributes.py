"""Rows of Optuna's tables for what a trial holds beside its parameters."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel

Row = dict[str, Any]


def attribute_rows(trial_id: int, attributes: Mapping[str, Any]) -> list[Row]:
    """Return the rows of attributes, plain JSON types."""
    return [
        {"trial_id": trial_id, "key": name, "value_json": json.dumps(value)}
        for name, value in attributes.items()
    ]


def report_rows(trial_id: int, reports: Mapping[int, float]) -> list[Row]:
    """Return the rows of what was reached at each step."""
    return [_report_row(trial_id, step, value) for step, value in reports.items()]


def value_rows(trial_id: int, values: Sequence[float]) -> list[Row]:
    """Return the rows of what a trial came to."""
    return [_value_row(trial_id, at, value) for at, value in enumerate(values)]


def _report_row(trial_id: int, step: int, value: float) -> Row:
    stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    told = {"intermediate_value": stored, "intermediate_value_type": kind}
    return {"trial_id": trial_id, "step": step, **told}


def _value_row(trial_id: int, objective: int, value: float) -> Row:
    stored, kind = TrialValueModel.value_to_stored_repr(value)
    return {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
