"""The Optuna study of a run, in the same database as our tables."""

import logging
import random
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import optuna
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
)
from optuna.study import StudyDirection
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from autoprune.errors import ConfigError
from autoprune.storage.engine import engine_options, explain, literal, parse_url, readable_errors
from autoprune.storage.own_trials import OwnTrials
from autoprune.storage.quick import QuickStorage

SCORE = "score"  # the first objective where there are several
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


def remove_study(url: str, name: str) -> None:
    """Remove a study with its trials, if it is there; errors are those of `readable_study`."""
    with _quiet(), readable_study(url):
        storage = _open_storage(url, engine_options(parse_url(url)))
        try:
            with suppress(KeyError):
                optuna.delete_study(study_name=name, storage=storage)
        finally:
            storage._backend.engine.dispose()


def costs_of(study: optuna.Study) -> list[str]:
    """Return the costs that are objectives of a study beside its value."""
    if len(study.directions) == 1:  # names are read from the database each time
        return []
    return (study.metric_names or [SCORE])[1:]


def close_study(study: optuna.Study) -> None:
    """Close the connections of a study from `open_study`; needed where files are moved next."""
    closer = _CLOSERS.pop(study, None)
    if closer is not None:
        closer()


def _open_storage(url: str, options: dict[str, Any]) -> OwnTrials:
    """Open Optuna's storage, again where another process made a table at the same moment."""
    for _ in range(_ATTEMPTS):
        try:
            return OwnTrials(QuickStorage(literal(url), engine_kwargs=dict(options)))
        except (IntegrityError, ProgrammingError, OperationalError) as err:
            if isinstance(err, OperationalError) and "already exists" not in str(err.orig):
                raise
        time.sleep(random.uniform(0.01, 0.1))
    return OwnTrials(QuickStorage(literal(url), engine_kwargs=dict(options)))


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
