"""What a study and its trials tell those who only look on."""

import json
from typing import Any

import optuna
from optuna.storages._rdb.models import StudyModel, StudyUserAttributeModel, TrialModel
from optuna.trial import FrozenTrial
from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session

from autoprune.storage.database import Database
from autoprune.storage.patience import patient
from autoprune.storage.reading import read_trials

_AT_ONCE = 500  # trials that are read by one query


@patient
def is_stored(database: Database, study: optuna.Study) -> bool:
    """Tell whether a study that was opened is still there.

    Args:
        database: Where it was.
        study: The study.
    """
    with database.reading() as session:
        return session.get(StudyModel, study._study_id) is not None


@patient
def told_of_study(database: Database, study: str) -> dict[str, Any]:
    """Return the user attributes of a study; none if it is missing.

    Args:
        database: Where the study is.
        study: Its name.
    """
    with database.reading() as session:
        if not has_studies(session):
            return {}
        told = StudyUserAttributeModel
        query = select(told.key, told.value_json).join(
            StudyModel, StudyModel.study_id == told.study_id
        )
        found = session.execute(query.where(StudyModel.study_name == study))
        return {key: json.loads(value) for key, value in found}


@patient
def told_trials(database: Database, study: str, *, with_params: bool = False) -> list[FrozenTrial]:
    """Return the trials of a study, oldest first; none if it is missing.

    Optuna's own storage is not opened, so nothing is made or changed.

    Args:
        database: Where the study is.
        study: Its name.
        with_params: Whether their parameters are read too, which are most of their rows.
    """
    with database.reading() as session:
        if not has_studies(session):
            return []
        query = of_study(study, select(TrialModel.trial_id)).order_by(TrialModel.trial_id)
        ids = session.scalars(query).all()
        lots = [ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)]
        return [one for lot in lots for one in read_trials(session, lot, with_params=with_params)]


def of_study(study: str, query: Select[Any]) -> Select[Any]:
    """Return a query of trials that is about those of one study, by its name."""
    own = query.join(StudyModel, StudyModel.study_id == TrialModel.study_id)
    return own.where(StudyModel.study_name == study)


def has_studies(session: Session) -> bool:
    """Tell whether a study was ever begun there."""
    return inspect(session.connection()).has_table(StudyModel.__tablename__)
