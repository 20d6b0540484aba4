"""The Optuna study of a run, in the same database as our tables."""

import logging
import random
import time
import warnings
import weakref
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from autoprune.errors import ConfigError
from autoprune.storage.engine import engine_options, explain, parse_url, readable_errors
from autoprune.storage.own_trials import OwnTrials
from autoprune.storage.patience import patient
from autoprune.storage.quick import Ending, QuickStorage

ABANDONED = "abandoned"
SCORE = "score"  # the first objective where there are several
_STAGES = "stages"
_ATTEMPTS = 50  # each failure means that another process got further
_CHATTY = ("optuna.storages._rdb.storage", "optuna.study.study")
_CLOSERS: "weakref.WeakKeyDictionary[optuna.Study, weakref.finalize[..., optuna.Study]]" = (
    weakref.WeakKeyDictionary()
)


def open_study(
    url: str,
    name: str,
    *,
    direction: Literal["minimize", "maximize"] = "minimize",
    costs: Sequence[str] = (),
    sampler: optuna.samplers.BaseSampler | None = None,
) -> optuna.Study:
    """Open the study ``name`` in the database at ``url``; make both if they are missing.

    Args:
        url: Database URL, the same as for `Database.open`.
        name: Name of the study.
        direction: Whether lower or higher values are better.
        costs: What is to be low beside the value, as further objectives.
        sampler: What proposes parameters; None for Optuna's default. It is not stored.

    Raises:
        ConfigError: If the URL cannot be read or used, if another version of Optuna wrote the
            tables, or if the stored study has another direction or other objectives.
        OutputError: If a SQLite file cannot be created or written.
    """
    parsed = parse_url(url)
    directions = [StudyDirection[one.upper()] for one in (direction, *("minimize",) * len(costs))]
    with _quiet(), readable_study(url):
        try:
            storage = _open_storage(url, engine_options(parsed))
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=directions,
                sampler=sampler,
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        except RuntimeError as err:
            raise ConfigError(f"The study {name!r} cannot be opened. {err}") from None
    _CLOSERS[study] = weakref.finalize(study, storage._backend.engine.dispose)
    if study.directions != directions:
        both = (study.directions, directions)
        stored, asked = (" and ".join(one.name.lower() for one in them) for them in both)
        close_study(study)
        raise ConfigError(
            f"The study {name!r} is stored as one to {stored}, not to {asked}. "
            "Open it as it is stored or choose another name."
        )
    if costs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([SCORE, *costs])
    return study


@contextmanager
def readable_study(url: str) -> Iterator[None]:
    """Turn the errors of a study whose database cannot be used into ones a user can act on.

    Args:
        url: Where the study is.

    Raises:
        ConfigError: If a database server cannot be used.
        InfrastructureError: If it cannot be reached.
        OutputError: If a SQLite file cannot be used, for one because the disk is full.
    """
    parsed = parse_url(url)
    with readable_errors(parsed):
        try:
            yield
        except StorageInternalError as err:
            raise explain(parsed, err.__cause__ or err) from err


def open_stored(url: str, name: str) -> optuna.Study | None:
    """Open a study to read it; None if it is not there, and then nothing is made."""
    parsed = parse_url(url)
    with readable_errors(parsed):
        engine = create_engine(parsed, **engine_options(parsed))
        try:
            if not inspect(engine).has_table("studies"):
                return None
        finally:
            engine.dispose()
        storage = _open_storage(url, engine_options(parsed))
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        storage._backend.engine.dispose()
        return None
    _CLOSERS[study] = weakref.finalize(study, storage._backend.engine.dispose)
    return study


def remove_study(url: str, name: str) -> None:
    """Remove a study with its trials, if it is there."""
    storage = _open_storage(url, engine_options(parse_url(url)))
    try:
        with _quiet(), suppress(KeyError):
            optuna.delete_study(study_name=name, storage=storage)
    finally:
        storage._backend.engine.dispose()


def costs_of(study: optuna.Study) -> list[str]:
    """Return the costs that are objectives of a study beside its value."""
    if len(study.directions) == 1:  # names are read from the database each time
        return []
    return (study.metric_names or [SCORE])[1:]


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


def close_study(study: optuna.Study) -> None:
    """Close the connections of a study from `open_study`; needed where files are moved next."""
    closer = _CLOSERS.pop(study, None)
    if closer is not None:
        closer()


@patient
def unfinished(study: optuna.Study, but: Container[int] = ()) -> list[FrozenTrial]:
    """Return the trials that are running, or whose process died, oldest first.

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


def _open_storage(url: str, options: dict[str, Any]) -> OwnTrials:
    """Open Optuna's storage, again where another process made a table at the same moment."""
    literal = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it as a template
    for _ in range(_ATTEMPTS):
        try:
            return OwnTrials(QuickStorage(literal, engine_kwargs=dict(options)))
        except (IntegrityError, ProgrammingError, OperationalError) as err:
            if isinstance(err, OperationalError) and "already exists" not in str(err.orig):
                raise
        time.sleep(random.uniform(0.01, 0.1))
    return OwnTrials(QuickStorage(literal, engine_kwargs=dict(options)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a study, and leave its logging as it was."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
