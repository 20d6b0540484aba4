"""What a search file names, as far as it can be found before PyTorch is imported."""

from pathlib import Path

from autoprune.core.imports import is_import, parse_import, source_file
from autoprune.core.paths import at_home
from autoprune.errors import CheckpointError, ConfigError, DataError, InputError, ModelError
from autoprune.execution.config import SearchFile
from autoprune.execution.runners.load import load_runner
from autoprune.space.loader import load_space


def check_named(file: SearchFile) -> None:
    """Look for the space, the runner and the files; nothing of them is run.

    Raises:
        InputError: If one is missing, or space or runner are wrong.
    """
    load_space(file.reference(file.space))
    load_runner(file.reference(file.runner))
    _check_source(file, "model", file.model.target, ModelError)
    if file.checkpoint is not None and not is_import(file.checkpoint):
        require_checkpoint(file.base / at_home(file.checkpoint))
    _check_source(file, "data", file.data.target, DataError)
    if is_import(file.task.target):
        _check_source(file, "task", file.task.target, ConfigError)
    if file.recover is not None:
        _check_source(file, "recover", file.recover, ConfigError)


def require_checkpoint(path: Path) -> None:
    """Raise `CheckpointError` if there is no such file."""
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}. Check the key 'checkpoint'.")


def _check_source(file: SearchFile, key: str, target: str, error: type[InputError]) -> None:
    what = f"{file.path}: {key}"
    named = parse_import(target, what=what, error=error)
    if named.is_file:
        source_file(named, base=file.base, what=what, error=error)
