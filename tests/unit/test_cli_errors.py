"""Errors are told in terms of the search file, whatever kind of an input error they are."""

from pathlib import Path

import pytest

from autoprune.cli.errors import naming_keys
from autoprune.errors import BudgetError, DataError, InputError, ModelError, OutOfMemoryError

FILE = Path("search.yaml")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (BudgetError, "max_drop"),
        (DataError, "data"),
        (ModelError, "model"),
        (OutOfMemoryError, "data"),
    ],
)
def test_the_file_and_its_key_come_first(kind: type[InputError], key: str) -> None:
    with pytest.raises(kind) as caught, naming_keys(FILE, "max_drop"):
        raise kind("It cannot be used.")
    assert type(caught.value) is kind
    assert str(caught.value) == f"search.yaml: {key}: It cannot be used."


def test_an_error_that_names_the_file_stays_as_it_is() -> None:
    told = OutOfMemoryError("search.yaml: memory ran out.")
    with pytest.raises(OutOfMemoryError) as caught, naming_keys(FILE):
        raise told
    assert caught.value is told
