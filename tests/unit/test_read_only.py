"""Databases of runs that are only read: they are left as they are, and strangers' are refused."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autoprune.agent.run import kept_evaluations
from autoprune.errors import ArtifactError, ConfigError, OutputError
from autoprune.ledger_api import ledger
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.read_only import opened_to_read
from tests.old_database import at_first_revision


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text("{}")
    return tmp_path / "autoprune.db"


def begin(file: Path) -> None:
    with Database.open(sqlite_url(file)) as database:
        database.start_run("autoprune", {}, "m", "d")


def test_a_run_is_read_and_left_as_it_is(file: Path) -> None:
    begin(file)
    before = file.read_bytes()
    with opened_to_read(file) as database:
        assert database.find_run("autoprune") is not None
        with pytest.raises(OutputError, match="readonly"):
            database.start_run("another", {}, "m", "d")
    assert file.read_bytes() == before
    assert sorted(os.listdir(file.parent)) == ["autoprune.db", "run.json"]


def test_a_run_is_read_while_it_is_written(file: Path) -> None:
    with Database.open(sqlite_url(file)) as database:
        database.start_run("autoprune", {}, "m", "d")
        with opened_to_read(file) as found:
            assert found.find_run("autoprune") is not None


def test_a_strangers_database_gets_no_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
        connection.commit()
    before = file.read_bytes()
    with pytest.raises(ArtifactError, match=r"holds no tables of autoprune.*left as it is"):
        ledger(file.parent)
    assert kept_evaluations(file.parent) == 0, "as where a search begins just now"
    assert file.read_bytes() == before
    assert sorted(os.listdir(file.parent)) == ["autoprune.db", "run.json"]


def test_a_link_out_of_the_folder_is_not_followed(
    file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "notes"
    other.touch()
    file.symlink_to(other)
    with pytest.raises(OutputError, match="is a link that leaves its folder"):
        ledger(file.parent)
    assert other.stat().st_size == 0


def test_an_older_one_is_brought_up_to_date_in_a_copy(file: Path) -> None:
    at_first_revision(file, "autoprune")
    before = file.read_bytes()
    assert ledger(file.parent) == []
    assert file.read_bytes() == before


def test_dropped_tables_are_told(file: Path) -> None:
    begin(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE ap_ledger")
        connection.commit()
    with pytest.raises(ConfigError, match="lacks the tables ap_ledger"):
        ledger(file.parent)
