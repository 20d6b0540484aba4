"""The Optuna study of a run, in the same database as our tables."""

import logging
import random
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
)
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from autoprune.errors import ConfigError
from autoprune.storage.engine import engine_options, explain, parse_url, readable_errors
from autoprune.storage.patience import patient
from autoprune.storage.quick import QuickStorage

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
    with _quiet(), readable_errors(parsed):
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
        except StorageInternalError as err:
            raise explain(parsed, err.__cause__ or err) from None
        except RuntimeError as err:
            raise ConfigError(f"The study {name!r} cannot be opened. {err}") from None
    _CLOSERS[study] = weakref.finalize(study, storage.engine.dispose)
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
        storage.engine.dispose()
        return None
    _CLOSERS[study] = weakref.finalize(study, storage.engine.dispose)
    return study


def remove_study(url: str, name: str) -> None:
    """Remove a study with its trials, if it is there."""
    storage = _open_storage(url, engine_options(parse_url(url)))
    try:
        with _quiet(), suppress(KeyError):
            optuna.delete_study(study_name=name, storage=storage)
    finally:
        storage.engine.dispose()


def costs_of(study: optuna.Study) -> list[str]:
    """Return the costs that are objectives of a study beside its value."""
    return (study.metric_names or [SCORE])[1:]


def report_stages(trial: Trial, values: Sequence[float]) -> None:
    """Keep what a trial reached at each of its stages; those that were kept before stay.

    Optuna takes reports in studies of one objective only; others hold them as an attribute.
    """
    if len(trial.study.directions) > 1:
        trial.set_user_attr(_STAGES, list(values))
        return
    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    for step, value in enumerate(values):
        if step not in known:
            trial.report(value, step)


def reported(study: optuna.Study, trial: FrozenTrial) -> dict[int, float]:
    """Return what a trial of the study had reached at each of its stages."""
    if len(study.directions) == 1:  # an attribute of that name would be a user's
        return trial.intermediate_values
    return dict(enumerate(trial.user_attrs.get(_STAGES, ())))


def start_trial(
    study: optuna.Study,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any],
    constraints: Mapping[str, float] | None = None,
) -> Trial:
    """Begin a trial in one transaction; Optuna's own ``ask`` commits once per parameter.

    Args:
        study: The study.
        params: Value by name.
        distributions: What each was drawn from, by name.
        attributes: User attributes.
        constraints: Optuna's: what is kept where it is 0 or less, by name.
    """
    template = create_trial(
        state=TrialState.RUNNING,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=dict(attributes),
        constraints=dict(constraints or {}),
    )
    return Trial(study, study._storage.create_new_trial(study._study_id, template))


def constrain(study: optuna.Study, trial: FrozenTrial, constraints: Mapping[str, float]) -> None:
    """Keep the constraints of a trial whose parameters are being drawn.

    It has no `Trial` yet that could be told, so what Optuna would write is written.
    """
    written = create_trial(state=TrialState.RUNNING, constraints=dict(constraints)).system_attrs
    for name, value in written.items():
        study._storage.set_trial_system_attr(trial._trial_id, name, value)


def close_study(study: optuna.Study) -> None:
    """Close the connections of a study from `open_study`; needed where files are moved next."""
    closer = _CLOSERS.pop(study, None)
    if closer is not None:
        closer()


@patient
def unfinished(study: optuna.Study) -> list[Trial]:
    """Return the trials that are running, or whose process died, oldest first."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [Trial(study, trial._trial_id) for trial in running]


def _open_storage(url: str, options: dict[str, Any]) -> RDBStorage:
    """Open Optuna's storage, again where another process made a table at the same moment."""
    literal = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it as a template
    for _ in range(_ATTEMPTS):
        try:
            return QuickStorage(literal, engine_kwargs=dict(options))
        except (IntegrityError, ProgrammingError, OperationalError) as err:
            if isinstance(err, OperationalError) and "already exists" not in str(err.orig):
                raise
        time.sleep(random.uniform(0.01, 0.1))
    return QuickStorage(literal, engine_kwargs=dict(options))


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
