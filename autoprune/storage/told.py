"""What the trials of a study tell those who only look on: everything but their parameters."""

from optuna.storages._rdb.models import StudyModel, TrialModel
from optuna.trial import FrozenTrial
from sqlalchemy import inspect, select

from autoprune.storage.database import Database
from autoprune.storage.patience import patient
from autoprune.storage.reading import read_trials

_AT_ONCE = 500  # trials that are read by one query


@patient
def told_trials(database: Database, study: str) -> list[FrozenTrial]:
    """Return the trials of a study without their parameters, oldest first; none if it is missing.

    Optuna's own storage is not opened, so nothing is made or changed.

    Args:
        database: Where the study is.
        study: Its name.
    """
    with database.transaction() as session:
        if not inspect(session.connection()).has_table(StudyModel.__tablename__):
            return []
        of_study = select(StudyModel.study_id).filter_by(study_name=study).scalar_subquery()
        query = select(TrialModel.trial_id).where(TrialModel.study_id == of_study)
        ids = session.scalars(query.order_by(TrialModel.trial_id)).all()
        lots = [ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)]
        return [one for lot in lots for one in read_trials(session, lot, with_params=False)]
