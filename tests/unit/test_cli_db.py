"""``autoprune db``: what is wrong with a database is told, and looking changes nothing."""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoprune.agent.housing.workspace import STUDY
from autoprune.cli import agent as agent_command
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.core.processes import this_host, this_process
from autoprune.errors import ConfigError
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import begin_trials
from tests.old_database import at_first_revision

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a sound database with a run and its study."""
    file = tmp_path / "run" / "autoprune.db"
    file.parent.mkdir()
    with Database.open(sqlite_url(file)) as database:
        database.start_run(STUDY, {}, "model", "data")
    close_study(open_study(sqlite_url(file), STUDY))
    return file


def change(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    for one in statements:
        connection.execute(one)
    connection.commit()
    connection.close()


def checked(run_autoprune: Run, file: Path) -> tuple[int, dict[str, Any]]:
    code, out, _ = run_autoprune("db", "check", "--database", str(file), "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == bool(found["problems"])
    return code, found


def problem(run_autoprune: Run, file: Path) -> str:
    code, found = checked(run_autoprune, file)
    assert code == 1
    (only,) = found["problems"]
    assert run_autoprune("db", "check", "--database", str(file))[0] == 1
    return str(only)


def begin(file: Path, **attributes: str) -> None:
    study = open_study(sqlite_url(file), STUDY)
    begin_trials(study, [{}], {}, [attributes])
    close_study(study)


def test_a_sound_database_is_sound(run_autoprune: Run, file: Path) -> None:
    code, found = checked(run_autoprune, file)
    assert code == 0
    assert found["revision"] == "current"
    assert (found["rows"]["ap_run"], found["rows"]["trials"]) == (1, 0)
    text = run_autoprune("db", "check", "--database", str(file))[1]
    assert "Nothing is wrong." in text


def test_a_copy_that_is_not_in_wal_mode_stays_as_it_is(run_autoprune: Run, file: Path) -> None:
    begin(file, agent="dead")
    change(file, "PRAGMA journal_mode=DELETE")
    content = file.read_bytes()
    code, found = checked(run_autoprune, file)
    assert (code, len(found["notes"])) == (0, 1)
    assert file.read_bytes() == content
    assert list(file.parent.iterdir()) == [file]


def test_no_file_is_told_and_not_made(run_autoprune: Run, tmp_path: Path) -> None:
    assert "There is no file" in problem(run_autoprune, tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_something_else_than_a_database_is_told(run_autoprune: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("milk, bread, and many other things " * 99)
    assert "is damaged, or no SQLite database" in problem(run_autoprune, tmp_path / "notes.txt")


def test_a_damaged_file_is_told(run_autoprune: Run, file: Path) -> None:
    change(file, "PRAGMA journal_mode=DELETE")
    content = bytearray(file.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    file.write_bytes(content)
    told = problem(run_autoprune, file)
    assert "damaged" in told or "malformed" in told


def test_old_and_new_tables_are_told_and_not_touched(run_autoprune: Run, file: Path) -> None:
    change(file, "UPDATE ap_alembic_version SET version_num = 'from-the-future'")
    assert "newer autoprune" in problem(run_autoprune, file)
    change(file, "DELETE FROM ap_alembic_version")
    assert "holds no tables of autoprune" in problem(run_autoprune, file)


def test_upgrade_brings_an_old_one_up_to_date(run_autoprune: Run, tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    run = "first"
    at_first_revision(file, run)
    assert "older autoprune. Run autoprune db upgrade" in problem(run_autoprune, file)
    code, out, _ = run_autoprune("db", "upgrade", "--database", str(file), "--json")
    assert (code, json.loads(out)["revision"]) == (0, "current")
    assert checked(run_autoprune, file)[0] == 0
    with Database.open(sqlite_url(file)) as database:
        assert database.find_run(run) is not None


def test_rows_that_refer_to_nothing_are_told(run_autoprune: Run, file: Path) -> None:
    lost = "INSERT INTO ap_lease (name, agent_id) VALUES ('score it', 'nobody')"
    change(file, "PRAGMA foreign_keys=OFF", lost)
    assert "1 rows of ap_lease refer to rows of ap_agent" in problem(run_autoprune, file)


def test_tables_that_somebody_dropped_are_told_before_a_run_needs_them(
    run_autoprune: Run, file: Path
) -> None:
    change(file, "DROP TABLE ap_evaluation", "DROP TABLE ap_lease")
    told = "lacks the tables ap_evaluation, ap_lease"
    assert told in problem(run_autoprune, file)
    with pytest.raises(ConfigError, match=told):
        Database.open(sqlite_url(file))


def test_tables_of_another_optuna_are_told(run_autoprune: Run, file: Path) -> None:
    change(file, "UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    assert "Optuna's tables are of version v2.6.0.a" in problem(run_autoprune, file)


def test_trials_that_nobody_works_on_are_told_and_no_damage(
    run_autoprune: Run, file: Path
) -> None:
    begin(file, agent="gone")
    begin(file)
    code, found = checked(run_autoprune, file)
    assert (code, found["problems"]) == (0, [])
    (note,) = found["notes"]
    assert "2 trials are unfinished in the run 'autoprune', and nobody works there" in note
    code, text, _ = run_autoprune("db", "check", "--database", str(file))
    assert (code, f"note: {note}" in text, "Nothing is wrong." in text) == (0, True, True)


def test_trials_of_a_process_that_is_gone_are_told_however_young_its_beat_is(
    run_autoprune: Run, file: Path
) -> None:
    begin(file, agent="killed")
    for host, notes in ((this_host(), 1), ("elsewhere", 0)):
        beat = Heartbeat(time.time(), os.getpid(), {}, host, f"{os.getpid()}@another began it")
        (file.parent / HEARTBEAT).write_text(beat.to_json())
        assert len(checked(run_autoprune, file)[1]["notes"]) == notes


def test_trials_of_agents_that_live_are_fine(run_autoprune: Run, file: Path) -> None:
    with Database.open(sqlite_url(file)) as database:
        agent = Agents(database).join(1, this_host(), this_process())
    begin(file, agent=agent)
    assert checked(run_autoprune, file)[1]["notes"] == []


def test_trials_of_a_run_that_beats_in_its_folder_are_fine(run_autoprune: Run, file: Path) -> None:
    begin(file, agent="known to the shared database")
    (file.parent / HEARTBEAT).write_text(Heartbeat(time.time(), 1).to_json())
    assert checked(run_autoprune, file)[1]["notes"] == []


def test_a_server_that_does_not_answer_is_no_fault_of_the_database(run_autoprune: Run) -> None:
    url = "postgresql+psycopg://me:hidden@127.0.0.1:1/db"
    code, out, err = run_autoprune("db", "check", "--database", url)
    assert (code, "cannot be reached" in err) == (4, True)
    assert "hidden" not in out + err


def test_an_option_of_the_url_that_the_driver_does_not_know_is_told(run_autoprune: Run) -> None:
    url = "postgresql+psycopg://me:hidden@127.0.0.1:1/db?sslmod=verify-full"
    code, out, err = run_autoprune("db", "check", "--database", url)
    assert (code, out) == (2, "")
    assert 'invalid connection option "sslmod"' in err
    assert "hidden" not in err


def test_an_empty_database_is_told(run_autoprune: Run) -> None:
    code, _, err = run_autoprune("db", "check", "--database", " ")
    assert (code, "--database is empty. Give a URL" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search",), "a run lives on it if it is a PostgreSQL"),
        (("agent", "join"), "a run lives on it if it is a PostgreSQL"),
        (("runs", "list"), "What knows the runs"),
        (("runs", "metrics"), "What knows the runs"),
        (("db", "check"), "RUN/autoprune.db is that of a run"),
        (("latency", "list"), "Where latencies and sensitivity tables are kept"),
    ],
)
def test_each_command_says_what_its_database_is_for(
    run_autoprune: Run, words: tuple[str, ...], said: str
) -> None:
    text = run_autoprune(*words, "--help")[1]
    assert said in " ".join(text[text.index("--database") :].split())


def test_a_database_that_is_not_there_is_not_made(run_autoprune: Run, tmp_path: Path) -> None:
    code, out, err = run_autoprune("db", "upgrade", "--database", str(tmp_path / "typo.db"))
    assert (code, out) == (2, "")
    assert "There is no database" in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        ("search", "search.yaml"),
        ("latency", "build", "search.yaml"),
        ("profile", "search.yaml"),
        ("agent", "join", "night", "--file", "search.yaml"),
        ("runs", "list"),
        ("db", "upgrade"),
    ],
)
def test_a_blank_database_is_refused_wherever_it_is_given(
    run_autoprune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "model: model.py:net\ndata: data.py:loaders\nbudget: {macs: 50%}\ndatabase: mine.db\n"
    Path("search.yaml").write_text(text)
    code, _, err = run_autoprune(*words, "--database", "")
    assert code == 2
    assert "--database is empty. Give a URL or a file, or leave it out." in err


@pytest.mark.parametrize("words", [(), ("--database", "given.db")])
def test_who_goes_on_is_looked_up_where_the_run_is(
    run_autoprune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    asked: list[object] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        agent_command, "_join", lambda run, file, database, *_: asked.append(database)
    )
    monkeypatch.setattr(
        agent_command, "_who_goes_on", lambda run, database: asked.append(database)
    )
    text = "model: model.py:net\ndata: data.py:loaders\nbudget: {macs: 50%}\ndatabase: mine.db\n"
    Path("search.yaml").write_text(text)
    assert run_autoprune("agent", "join", "night", "--file", "search.yaml", *words)[0] == 0
    assert asked == [str(tmp_path / (words[1] if words else "mine.db"))] * 2
