"""What all experiments of Ray Tune have in common here: their place, and how they are set up."""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any
from uuid import uuid4

from pyarrow.fs import FileSystem
from ray import tune

from autoprune.core.paths import at_home

_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # that one prints, whatever it is told
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # users' paths start where they started the search
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}

_PATIENCE = 10.0  # seconds that a storage has to remove what was written there


@contextmanager
def place(storage: str | None) -> Iterator[str]:
    """Yield where experiments may write; it is removed afterwards, for nothing goes on from it.

    Meanwhile Tune leaves the working folder alone, writes no logs and says nothing.

    Args:
        storage: A folder that all nodes see, or the URI of one; None for one of this machine.
    """
    with _quiet(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if storage is None:
            yield folder
            return
        root = storage if "://" in storage else str(at_home(storage).absolute())
        own = f"{root.rstrip('/')}/autoprune-{uuid4().hex[:12]}"  # others may use the same
        try:
            yield own
        finally:
            remover = Thread(target=_remove, args=(own,), daemon=True)
            remover.start()
            remover.join(_PATIENCE)


def tuner(
    trial: type[tune.Trainable],
    given: Mapping[str, Any],
    needs: Mapping[str, Any],
    where: str,
    *,
    choice: Mapping[str, Any],
    run: Mapping[str, Any],
    space: Mapping[str, Any] | None = None,
) -> tune.Tuner:
    """Return an experiment that is ready to begin.

    Args:
        trial: What a trial does; a process that has ended one takes the next.
        given: What each trial is given once, by name.
        needs: What each needs of the cluster, as Ray's actors take it.
        where: Where it may write.
        choice: Further options of `tune.TuneConfig`.
        run: Further options of `tune.RunConfig`.
        space: Configurations of trials.
    """
    prepared = tune.with_parameters(trial, **given)
    return tune.Tuner(
        tune.with_resources(prepared, tune.PlacementGroupFactory([dict(needs)])),
        param_space=dict(space or {}),
        tune_config=tune.TuneConfig(
            reuse_actors=True, trial_dirname_creator=lambda trial: str(trial.trial_id), **choice
        ),
        run_config=tune.RunConfig(name=uuid4().hex[:12], storage_path=where, verbose=0, **run),
    )


def _remove(where: str) -> None:
    # it was never written to, is out of reach, or cannot be removed
    with suppress(OSError, ValueError, NotImplementedError):
        files, path = FileSystem.from_uri(where)
        files.delete_dir(path)


@contextmanager
def _quiet() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _SETTINGS}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(_SETTINGS)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
