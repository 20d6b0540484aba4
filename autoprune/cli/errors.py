"""What is wrong, said in terms of the file the user wrote."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprune.errors import BudgetError, DataError, InputError, ModelError, OutOfMemoryError

_KEYS: dict[type[InputError], str] = {  # those that are more special come first
    OutOfMemoryError: "data",  # its loaders say how large a batch is
    BudgetError: "budget",
    DataError: "data",
    ModelError: "model",
}


@contextmanager
def naming_keys(path: Path, limits: str = "budget") -> Iterator[None]:
    """Put the search file and its key in front of errors that do not name them yet.

    Args:
        path: The search file.
        limits: The key that limits come from.
    """
    try:
        yield
    except tuple(_KEYS) as err:
        if str(path) in str(err):
            raise
        known = next(key for kind, key in _KEYS.items() if isinstance(err, kind))
        key = limits if isinstance(err, BudgetError) else known
        raise type(err)(f"{path}: {key}: {err}") from err
