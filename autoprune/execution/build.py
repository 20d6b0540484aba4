"""From a search file to the objects a search needs: the user's model and data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.artifacts.constructor import Constructor
from autoprune.core.imports import is_import, load_object, parse_import
from autoprune.core.paths import at_home
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.user_code import user_code
from autoprune.errors import CheckpointError, ConfigError, DataError
from autoprune.execution.config import SearchFile

if TYPE_CHECKING:
    from torch import nn

    from autoprune.tasks import Task


def constructor_of(file: SearchFile) -> Constructor:
    """Return how the dense architecture is built."""
    call = file.model
    return Constructor(
        target=call.target, args=call.args, base=file.base, what=f"{file.path}: model"
    )


def build_model(file: SearchFile) -> "nn.Module":
    """Build the dense model and load its checkpoint, if there is one.

    Raises:
        ModelError: If the model cannot be imported or built.
        CheckpointError: If the checkpoint cannot be made, read safely, or does not fit.
    """
    model = constructor_of(file).build()
    if file.checkpoint is not None:
        from autoprune.execution.checkpoint import load_checkpoint

        load_checkpoint(_checkpoint_path(file, file.checkpoint), model)
    return model


def load_data(file: SearchFile) -> object:
    """Call the user's data function and return whatever it returns; the task checks it.

    Raises:
        DataError: If it cannot be imported or raises.
    """
    return _call(file, file.data.target, file.data.args, "data", DataError)


def build_task(file: SearchFile) -> "Task":
    """Return the task over the user's data.

    Settings that are functions, which a task names in ``functions``, are import strings.

    Raises:
        ConfigError: If there is no such task, or it does not take these settings.
        DataError: If the data cannot be loaded, or lacks a split.
    """
    from autoprune.tasks.base import TASKS, make_task

    target, args, what = file.task.target, dict(file.task.args), f"{file.path}: task"
    with _at(what):
        make = (
            load_object(target, base=file.base, what=what, error=ConfigError)
            if is_import(target)
            else TASKS.get(target)
        )
    for key in getattr(make, "functions", ()):
        if isinstance(args.get(key), str):
            own = f"{what}.args.{key}"
            args[key] = load_object(args[key], base=file.base, what=own, error=ConfigError)
    data = load_data(file)
    with _at(what):
        return make_task(make, target, data, args)


@contextmanager
def _at(what: str) -> Iterator[None]:
    """Put the place in front of errors about settings that do not name it."""
    try:
        yield
    except ConfigError as err:
        if str(err).startswith(what):
            raise
        raise ConfigError(f"{what}: {err}") from err


def load_recover(file: SearchFile) -> RecoverFunction | None:
    """Import the user's own training function, if there is one.

    Raises:
        ConfigError: If it cannot be imported or called with a model and epochs.
    """
    if file.recover is None:
        return None
    return RecoverFunction.imported(file.recover, file.base, f"{file.path}: recover")


def _checkpoint_path(file: SearchFile, checkpoint: str) -> Path:
    given: object = checkpoint
    if is_import(checkpoint):
        given = _call(file, checkpoint, {}, "checkpoint", CheckpointError)
    if not isinstance(given, str | os.PathLike):
        raise CheckpointError(
            f"{file.path}: checkpoint: {checkpoint!r} must return the path of a checkpoint. "
            f"Got {type(given).__name__}."
        )
    return file.base / at_home(given)


def _call(
    file: SearchFile,
    target: str,
    args: dict[str, object],
    key: str,
    error: type[DataError] | type[CheckpointError],
) -> object:
    what = f"{file.path}: {key}"
    function = load_object(target, base=file.base, what=what, error=error)
    parsed = parse_import(target)
    folder = parsed.path(file.base).parent if parsed.is_file else None
    with user_code(f"{what}: {target!r} raised", error, folder):
        result: object = function(**args)
    return result
