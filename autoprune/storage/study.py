"""The Optuna study of a run, in the same database as our tables."""

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from autoprune.errors import ConfigError
from autoprune.storage.engine import engine_options, explain, parse_url, readable_errors

ABANDONED = "abandoned"
_CHATTY = ("optuna.storages._rdb.storage", "optuna.study.study")
_CLOSERS: "weakref.WeakKeyDictionary[optuna.Study, weakref.finalize[..., optuna.Study]]" = (
    weakref.WeakKeyDictionary()
)


def open_study(
    url: str,
    name: str,
    *,
    direction: Literal["minimize", "maximize"] = "minimize",
    sampler: optuna.samplers.BaseSampler | None = None,
) -> optuna.Study:
    """Open the study ``name`` in the database at ``url``; make both if they are missing.

    Args:
        url: Database URL, the same as for `Database.open`.
        name: Name of the study.
        direction: Whether lower or higher values are better.
        sampler: What proposes parameters; None for Optuna's default. It is not stored.

    Raises:
        ConfigError: If the URL cannot be read or used, if another version of Optuna wrote the
            tables, or if the stored study has the other direction.
        OutputError: If a SQLite file cannot be created or written.
    """
    parsed = parse_url(url)
    with _quiet(), readable_errors(parsed):
        try:
            # Optuna formats the URL as a template: braces in it are doubled.
            literal = url.replace("{", "{{").replace("}", "}}")
            storage = RDBStorage(literal, engine_kwargs=engine_options(parsed))
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction=direction,
                sampler=sampler,
                load_if_exists=True,
            )
        except StorageInternalError as err:
            raise explain(parsed, err.__cause__ or err) from None
        except RuntimeError as err:
            raise ConfigError(f"The study {name!r} cannot be opened. {err}") from None
    _CLOSERS[study] = weakref.finalize(study, storage.engine.dispose)
    if study.direction != StudyDirection[direction.upper()]:
        stored = study.direction.name.lower()
        close_study(study)
        raise ConfigError(
            f"The study {name!r} is stored as one to {stored}, not to {direction}. "
            "Open it as it is stored or choose another name."
        )
    return study


def close_study(study: optuna.Study) -> None:
    """Close the connections of a study from `open_study`; needed where files are moved next."""
    closer = _CLOSERS.pop(study, None)
    if closer is not None:
        closer()


def release_unfinished(study: optuna.Study) -> int:
    """Fail trials that a killed process left running, and mark them as abandoned.

    Call it only while no other process works on the study: its trials would be taken away.

    Returns:
        How many trials were released.
    """
    released = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        try:
            study._storage.set_trial_user_attr(trial._trial_id, "outcome", ABANDONED)
            study.tell(trial.number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):
            continue  # its process was alive after all and told it just now
        released += 1
    return released


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
