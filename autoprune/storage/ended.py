"""What the trials of a run came to, by plain queries: for those who only look at it."""

import json

from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel, TrialValueModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, select

from autoprune.storage.database import Database
from autoprune.storage.patience import patient
from autoprune.storage.reading import read_trials
from autoprune.storage.study_trials import ABANDONED
from autoprune.storage.told import has_studies, of_study

_AT_ONCE = 20  # trials that are read, until one is inside the limits


@patient
def count_ended(database: Database, study: str) -> int:
    """Return how many evaluations came to their end, failed and stopped ones too.

    Finalists, which train policies that were evaluated before, are not among them, nor is what
    was given back.

    Args:
        database: Where the run is.
        study: Name of its study.
    """
    told = TrialUserAttributeModel
    given_back = select(told.trial_id).where(
        told.trial_id == TrialModel.trial_id,
        told.key == "outcome",
        told.value_json == json.dumps(ABANDONED),
    )
    query = of_study(study, select(func.count()).select_from(TrialModel)).where(
        TrialModel.state.in_((TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)),
        ~given_back.exists(),
    )
    with database.reading() as session:
        return session.scalar(query) or 0 if has_studies(session) else 0


@patient
def best_ended(database: Database, study: str) -> FrozenTrial | None:
    """Return the trial of the best score that keeps the limits; None if there is none yet.

    Args:
        database: Where the run is.
        study: Name of its study, whose first objective is the score.
    """
    value = TrialValueModel
    ranked = (
        of_study(study, select(TrialModel.trial_id))
        .join(value, value.trial_id == TrialModel.trial_id)
        .where(TrialModel.state == TrialState.COMPLETE, value.objective == 0)
        .order_by(value.value, TrialModel.number)
    )
    with database.reading() as session:
        ids = list(session.scalars(ranked)) if has_studies(session) else []
        for lot in (ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)):
            found = {trial._trial_id: trial for trial in read_trials(session, lot)}
            for one in filter(None, map(found.get, lot)):
                if all(value <= 0 for value in one.constraints.values()):
                    return one
    return None
