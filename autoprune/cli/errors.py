"""What is wrong, said in terms of the file the user wrote."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprune.errors import BudgetError, DataError, InputError, ModelError

_KEYS: dict[type[InputError], str] = {
    BudgetError: "budget",
    DataError: "data",
    ModelError: "model",
}


@contextmanager
def naming_keys(path: Path) -> Iterator[None]:
    """Put the search file and its key in front of errors that do not name them yet."""
    try:
        yield
    except tuple(_KEYS) as err:
        if str(path) in str(err):
            raise
        raise type(err)(f"{path}: {_KEYS[type(err)]}: {err}") from err
