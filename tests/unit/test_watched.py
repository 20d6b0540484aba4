"""A database that is looked at: nothing in it changes, whoever writes meanwhile."""

import hashlib
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError

from autoprune.core.policy import Choice, Policy
from autoprune.errors import ConfigError, OutputError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.study import close_study, open_study
from autoprune.storage.watched import evaluations_that, watched

pytestmark = pytest.mark.usefixtures("quiet_optuna")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database with a run and a study, in a folder that is hard to write as a URL."""
    found = tmp_path / "50% of #1?" / "a b.db"
    found.parent.mkdir()
    with Database.open(sqlite_url(found)) as database:
        database.start_run("night", {}, "model", "data")
    study = open_study(sqlite_url(found), "night")
    study.add_trial(optuna.create_trial(value=1.0))
    close_study(study)
    return found


def test_what_is_there_is_read_and_what_comes_later(file: Path) -> None:
    url = sqlite_url(file)
    with watched(url) as found:
        (study,) = found.studies.get_all_studies()
        assert len(found.studies.get_all_trials(study._study_id)) == 1
        assert found.runs is not None
        assert found.runs.find_run("night") is not None
        own = open_study(url, "night")
        own.add_trial(optuna.create_trial(value=2.0))
        close_study(own)
        assert len(found.studies.get_all_trials(study._study_id)) == 2


def test_the_database_refuses_to_be_changed(file: Path) -> None:
    with watched(sqlite_url(file)) as found:
        assert found.runs is not None
        with pytest.raises(StorageInternalError):
            found.studies.set_study_user_attr(1, "name", "value")
        with pytest.raises(OutputError, match="readonly"):
            found.runs.start_run("other", {}, "model", "data")


def test_to_look_leaves_the_file_as_it_is(file: Path) -> None:
    before = hashlib.sha256(file.read_bytes()).digest()
    with watched(sqlite_url(file)) as found:
        assert len(found.studies.get_all_studies()) == 1
    assert hashlib.sha256(file.read_bytes()).digest() == before


def test_a_database_of_somebody_else_gets_no_tables_of_ours(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "theirs.db")
    optuna.create_study(storage=url, study_name="theirs").add_trial(optuna.create_trial(value=1))
    with watched(url) as found:
        assert [one.study_name for one in found.studies.get_all_studies()] == ["theirs"]
        assert found.runs is None
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert not any(name.startswith("ap_") for name in names)


def test_tables_of_another_optuna_are_not_brought_up_to_date(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    with (
        pytest.raises(ConfigError, match=r"version v3\.0\.0\.d.*Nothing was changed"),
        watched(sqlite_url(file)),
    ):
        pass
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("v3.0.0.d",)]


def test_a_database_without_studies_and_one_that_is_missing_are_told(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "empty.db")
    with pytest.raises(OutputError, match="There is no database file"), watched(url):
        pass
    assert not (tmp_path / "empty.db").exists()
    Database.open(url).close()
    with pytest.raises(ConfigError, match="no Optuna studies"), watched(url):
        pass


def test_evaluations_are_found_by_how_their_outcome_begins(file: Path) -> None:
    outcomes = ["scored", "recovered", "outrun: after 50 steps", "failed: it broke"]
    with Database.open(sqlite_url(file)) as database:
        for at, outcome in enumerate(outcomes):
            policy = Policy({"u": Choice("channel.l1", (at + 1) / 8)})
            key = EvaluationKey("model", "data", policy.fingerprint, "way")
            found = Evaluation(policy, outcome, 0.5, 0.9, 1.0, 1.0)
            database.record_evaluation(1, key, found)
        told = evaluations_that(database, 1, ("recovered", "outrun"))
    assert [one.outcome for one in told] == outcomes[1:3]
    assert told[0].policy == Policy({"u": Choice("channel.l1", 0.25)})
    assert told[0].stages == ()
