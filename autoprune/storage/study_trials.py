"""Trials of a study as they are stored: many at once, with all that is known of them."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from autoprune.storage.own_trials import OwnTrials
from autoprune.storage.patience import patient
from autoprune.storage.quick import Ending

ABANDONED = "abandoned"
_STAGES = "stages"


def begin_trials(
    study: optuna.Study,
    params: Sequence[Mapping[str, Any]],
    distributions: Mapping[str, BaseDistribution],
    attributes: Sequence[Mapping[str, Any]],
    constraints: Sequence[Mapping[str, float]] | None = None,
) -> list[Trial]:
    """Begin trials in one transaction; Optuna's own ``ask`` commits once per parameter.

    Args:
        study: The study.
        params: Of each trial, value by name.
        distributions: What each parameter was drawn from, by name.
        attributes: Of each trial, its user attributes.
        constraints: Of each trial, Optuna's: what is kept where it is 0 or less, by name; none if
            left out.
    """
    begun, drawn = datetime.now(), dict(distributions)
    templates = [
        FrozenTrial(
            number=-1,  # it is given one
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=begun,
            datetime_complete=None,
            params=dict(own),
            distributions=drawn,
            user_attrs=dict(told),
            system_attrs=_written(kept),
            intermediate_values={},
        )
        for own, told, kept in zip(
            params, attributes, constraints or [{}] * len(params), strict=True
        )
    ]
    storage = study._storage
    if isinstance(storage, OwnTrials):
        ids = [trial._trial_id for trial in storage.begin(study._study_id, templates)]
    else:
        ids = [storage.create_new_trial(study._study_id, one) for one in templates]
    return [Trial(study, one) for one in ids]


def end_trials(study: optuna.Study, endings: Sequence[Ending]) -> None:
    """End trials in one transaction; Optuna's own ``tell`` commits for each attribute and report.

    Those that others ended stay as they are.
    """
    storage = study._storage
    if isinstance(storage, OwnTrials):
        storage.end(endings)
        return
    for one in endings:
        trial = storage.get_trial(one.trial_id)
        if not trial.state.is_finished():
            for name, value in one.attributes.items():
                storage.set_trial_user_attr(one.trial_id, name, value)
            for step, value in one.reports.items():
                storage.set_trial_intermediate_value(one.trial_id, step, value)
            storage.set_trial_state_values(one.trial_id, one.state, list(one.values) or None)


def constrain(study: optuna.Study, trial: FrozenTrial, constraints: Mapping[str, float]) -> None:
    """Keep the constraints of a trial whose parameters are being drawn.

    It has no `Trial` yet that could be told, so what Optuna would write is written.
    """
    for name, value in _written(constraints).items():
        study._storage.set_trial_system_attr(trial._trial_id, name, value)


def _written(constraints: Mapping[str, float]) -> dict[str, Any]:
    """Return what Optuna keeps constraints as."""
    written = create_trial(state=TrialState.RUNNING, constraints=dict(constraints))
    return dict(written.system_attrs)


def stages_told(
    study: optuna.Study, values: Sequence[float]
) -> tuple[dict[int, float], dict[str, Any]]:
    """Return what a trial of the study holds of its stages: reports, and attributes.

    Optuna takes reports in studies of one objective only; others hold them as an attribute.
    """
    if len(study.directions) > 1:
        return {}, {_STAGES: list(values)}
    return dict(enumerate(values)), {}


def reported(study: optuna.Study, trial: FrozenTrial) -> dict[int, float]:
    """Return what a trial of the study had reached at each of its stages."""
    if len(study.directions) == 1:  # an attribute of that name would be a user's
        return trial.intermediate_values
    return dict(enumerate(trial.user_attrs.get(_STAGES, ())))


@patient
def unfinished(study: optuna.Study, but: Container[int] = ()) -> list[FrozenTrial]:
    """Return the trials that are running, or whose process died, oldest first, as last read.

    Args:
        study: The study.
        but: Numbers of those that are left out.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if trial.number not in but]


@patient
def taken_over(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[Trial]:
    """Return trials of other processes as ones that this process ends; each is read again."""
    return [Trial(study, trial._trial_id) for trial in trials]
