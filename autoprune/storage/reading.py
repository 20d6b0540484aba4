"""Trials of a study read by a few plain queries, without an object for each of their rows."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial
from sqlalchemy import select
from sqlalchemy.orm import Session

_Row = Any  # the trial as numbered in the database, and columns of the table that is read
_Rows = dict[int, list[_Row]]  # by trial


def read_trials(
    session: Session, trial_ids: Collection[int], *, with_params: bool = True
) -> list[FrozenTrial]:
    """Return trials as Optuna itself reads them, in the order of their ids; missing ones not.

    A trial of 100 parameters is 100 rows: Optuna makes an object that SQLAlchemy watches of each.

    Args:
        session: Where they are.
        trial_ids: Which, as numbered in the database; few enough for one ``IN``.
        with_params: Whether their parameters are read too, which are most of their rows.
    """
    query = select(TrialModel).where(TrialModel.trial_id.in_(trial_ids))
    found: Sequence[Any] = session.scalars(query.order_by(TrialModel.trial_id)).all()
    param, value, step = TrialParamModel, TrialValueModel, TrialIntermediateValueModel
    user, system = TrialUserAttributeModel, TrialSystemAttributeModel

    def rows(model: Any, order: Any, *columns: Any) -> _Rows:
        own = select(model.trial_id, *columns).where(model.trial_id.in_(trial_ids))
        return _by_trial(session.execute(own.order_by(model.trial_id, order)))

    drawn = (param.param_name, param.param_value, param.distribution_json)
    params = rows(param, param.param_id, *drawn) if with_params else {}
    values = rows(value, value.objective, value.value, value.value_type)
    reports = rows(
        step, step.step, step.step, step.intermediate_value, step.intermediate_value_type
    )
    told = rows(user, user.trial_user_attribute_id, user.key, user.value_json)
    kept = rows(system, system.trial_system_attribute_id, system.key, system.value_json)
    return [
        FrozenTrial(
            number=trial.number,
            trial_id=trial.trial_id,
            state=trial.state,
            value=None,
            values=_values(values.get(trial.trial_id, ())),
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            **_params(params.get(trial.trial_id, ())),
            user_attrs=_attributes(told.get(trial.trial_id, ())),
            system_attrs=_attributes(kept.get(trial.trial_id, ())),
            intermediate_values=_reports(reports.get(trial.trial_id, ())),
        )
        for trial in found
    ]


def _by_trial(rows: Iterable[_Row]) -> _Rows:
    return {id: list(own) for id, own in groupby(rows, key=itemgetter(0))}


def _params(rows: Sequence[_Row]) -> dict[str, Any]:
    drawn = {name: _distribution(written) for _, name, _, written in rows}
    params = {name: drawn[name].to_external_repr(value) for _, name, value, _ in rows}
    return {"params": params, "distributions": drawn}


def _values(rows: Sequence[_Row]) -> list[float] | None:
    read = TrialValueModel.stored_repr_to_value
    return [read(value, kind) for _, value, kind in rows] or None


def _reports(rows: Sequence[_Row]) -> dict[int, float]:
    read = TrialIntermediateValueModel.stored_repr_to_intermediate_value
    return {step: read(value, kind) for _, step, value, kind in rows}


def _attributes(rows: Sequence[_Row]) -> dict[str, Any]:
    return {key: json.loads(written) for _, key, written in rows}


@lru_cache(maxsize=4096)
def _distribution(written: str) -> BaseDistribution:
    return json_to_distribution(written)
