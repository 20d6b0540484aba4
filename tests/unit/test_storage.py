import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event, make_url, text

from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Choice, Policy
from autoprune.core.secrets import redact
from autoprune.core.stages import Stage
from autoprune.errors import (
    ArtifactError,
    CandidateError,
    ConfigError,
    ElsewhereError,
    OutputError,
    RunExistsError,
)
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.engine import explain, sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs
from autoprune.storage.study import close_study, open_study, readable_study, remove_study
from autoprune.storage.study_trials import unfinished

KEY = EvaluationKey("model", "data", "policy", "evaluator")
SCORED = Evaluation(
    policy=Policy({"b": Choice("channel.l1", 0.25), "a": Choice("channel.taylor", 1 / 3)}),
    outcome="complete",
    loss=0.1 + 0.2,
    quality=0.9,
    sample_forwards=1234.5,
    seconds=1e-9,
    weights="policy.safetensors",
    weights_sha256="0" * 64,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database.open(url) as opened:
        yield opened


def test_a_run_comes_back_as_it_was_stored(database: Database) -> None:
    run_id = database.start_run("night", {"budget": {"macs": "50%"}}, "model", "data")
    run = database.find_run("night")
    assert run is not None
    assert (run.id, run.name, run.model_fp, run.data_fp) == (run_id, "night", "model", "data")
    assert run.config == {"budget": {"macs": "50%"}}
    assert run.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - run.created_at) < timedelta(minutes=1)
    assert database.find_run("day") is None


def test_of_what_is_told_again_the_last_time_counts(database: Database) -> None:
    run_id, runs = database.start_run("night", {}, "model", "data"), Runs(database)
    for timeout in (60, None, 60):
        runs.add_last(run_id, "sessions", {"timeout": timeout})
    run = database.find_run("night")
    assert run is not None
    assert run.kept["sessions"] == [{"timeout": None}, {"timeout": 60}]


def test_of_two_that_keep_something_at_once_the_first_one_stays(url: str) -> None:
    with Database.open(url) as one, Database.open(url) as other:
        run_id = one.start_run("night", {}, "model", "data")
        done: list[str] = []

        @event.listens_for(one._engine, "before_cursor_execute")
        def between(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("UPDATE") and not done:
                done.append(statement)
                Runs(other).keep(run_id, "table", {"by": "other"})
                Runs(other).keep(run_id, "more", {"by": "other"})

        assert Runs(one).keep(run_id, "table", {"by": "one"}) == {"by": "other"}
        run = one.find_run("night")
        assert run is not None
        assert run.kept == {"table": {"by": "other"}, "more": {"by": "other"}}


def test_a_second_run_of_the_same_name_is_refused(database: Database) -> None:
    database.start_run("night", {}, "model", "data")
    with pytest.raises(RunExistsError, match=r"'night'.*Resume"):
        database.start_run("night", {}, "model", "data")


@pytest.mark.parametrize("config", [{"x": float("nan")}, {"x": Path("x")}])
def test_a_configuration_that_is_no_json_is_refused(
    database: Database, config: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="plain JSON"):
        database.start_run("night", config, "model", "data")
    assert database.find_run("night") is None


def test_an_evaluation_is_kept_exactly_and_found_again_by_its_key(url: str) -> None:
    with Database.open(url) as database:
        run_id = database.start_run("night", {}, "model", "data")
        assert database.record_evaluation(run_id, KEY, SCORED) == SCORED
    with Database.open(url) as database:
        assert database.find_evaluation(KEY) == SCORED
        assert database.evaluations(run_id) == [SCORED]
        for part in ("model_fp", "data_fp", "policy_fp", "evaluator_fp"):
            assert database.find_evaluation(replace(KEY, **{part: "other"})) is None


def test_a_failed_evaluation_without_numbers_is_kept(database: Database) -> None:
    failed = Evaluation(Policy({}), "failed", None, None, 0.0, 0.5)
    database.record_evaluation(None, KEY, failed)
    assert database.find_evaluation(KEY) == failed


def test_the_first_writer_of_a_key_wins(database: Database) -> None:
    first = database.start_run("first", {}, "model", "data")
    second = database.start_run("second", {}, "model", "data")
    database.record_evaluation(first, KEY, SCORED)
    assert database.record_evaluation(second, KEY, replace(SCORED, loss=9.0)) == SCORED
    assert database.evaluations(second) == []


def test_what_another_run_stored_costs_the_one_that_asks_nothing(database: Database) -> None:
    one, two = (database.start_run(name, {}, "m", "d") for name in ("one", "two"))
    database.record_evaluation(one, KEY, SCORED)
    assert database.find_evaluations([KEY], payer=one) == {KEY: SCORED}
    found = database.find_evaluations([KEY], payer=two)[KEY]
    assert (found.sample_forwards, found.seconds) == (0.0, 0.0)
    assert replace(found, sample_forwards=SCORED.sample_forwards, seconds=SCORED.seconds) == SCORED
    assert SCORED.sample_forwards > 0


def test_many_writers_of_one_key_agree(database: Database) -> None:
    def record(loss: int) -> Evaluation:
        return database.record_evaluation(None, KEY, replace(SCORED, loss=float(loss)))

    with ThreadPoolExecutor(8) as threads:
        results = set(threads.map(record, range(32)))
    assert results == {database.find_evaluation(KEY)}


def test_evaluations_are_stored_in_one_order_so_that_no_two_agents_wait_for_each_other(
    database: Database,
) -> None:
    stored: list[list[str]] = []

    def note(_: Any, __: Any, statement: str, given: Any, *___: Any) -> None:
        if statement.startswith("INSERT INTO ap_evaluation"):
            rows = given if isinstance(given, list) else [given]
            stored.append([one for row in rows for one in row if one in ("a", "b", "c")])

    event.listen(database._engine, "before_cursor_execute", note)
    database.record_evaluations(None, {replace(KEY, policy_fp=one): SCORED for one in "bca"})
    assert [one for lot in stored for one in lot] == ["a", "b", "c"]


def test_an_evaluation_of_an_unknown_run_is_refused(database: Database) -> None:
    with pytest.raises(ElsewhereError, match="Somebody removed this run"):
        database.record_evaluation(7, KEY, SCORED)
    with pytest.raises(ElsewhereError, match="Somebody removed this run"):
        database.replace_evaluation(7, KEY, SCORED)
    assert database.find_evaluation(KEY) is None


def test_an_evaluation_outlives_its_run(database: Database) -> None:
    run_id = database.start_run("night", {}, "model", "data")
    database.record_evaluation(run_id, KEY, SCORED)
    with database._engine.begin() as connection:
        connection.execute(text("DELETE FROM ap_run"))
    assert database.find_evaluation(KEY) == SCORED
    assert database.evaluations(run_id) == []


@pytest.mark.parametrize("name", ["loss", "quality", "sample_forwards", "seconds"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(name: str, number: float) -> None:
    with pytest.raises(CandidateError, match=f"{name}.*finite"):
        replace(SCORED, **{name: number})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "sha256"),
    [
        ("../x", "0" * 64),
        ("/x", "0" * 64),
        ("a\\x", "0" * 64),
        ("..", "0" * 64),
        ("", "0" * 64),
        (None, "0" * 64),
        ("x", None),
        ("x", "zz"),
    ],
)
def test_weights_are_a_bare_file_name_with_its_sum(
    weights: str | None, sha256: str | None
) -> None:
    with pytest.raises(ArtifactError):
        replace(SCORED, weights=weights, weights_sha256=sha256)


def test_an_altered_row_is_refused_when_it_is_read(database: Database) -> None:
    database.record_evaluation(None, KEY, SCORED)
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE ap_evaluation SET weights = '../../secret'"))
    with pytest.raises(ArtifactError):
        database.find_evaluation(KEY)


ENTRY = LedgerEntry(
    units=("a",),
    policy=SCORED.policy,
    alternative=Policy({}),
    outcome=Outcome.NOISE,
    expected_regret=0.01,
    score_before=0.3,
    score_after=0.2,
    quality_before=0.9,
    quality_after=0.8,
    costs_before={"macs": 2.0},
    costs_after={"macs": 1.0},
    p_value=0.5,
    threshold=0.01,
    sample_forwards=10.0,
)


@pytest.mark.parametrize(
    "change",
    [
        *("ap_ledger SET score_before = 'low'", "ap_ledger SET quality_after = x'00ff'"),
        *("ap_ledger SET sample_forwards = 9e999", "ap_ledger SET step = 9e999"),
        *("ap_ledger SET costs_after = '[1]'", "ap_run SET name = x'00ff'"),
        *("ap_agent SET status = '3'", "ap_agent SET process = x'00ff'"),
    ],
)
def test_what_somebody_else_wrote_into_a_row_is_told(database: Database, change: str) -> None:
    run_id = database.start_run("night", {}, "model", "data")
    ledger, agents, runs = Ledger(database, run_id), Agents(database), Runs(database)
    ledger.add_all([ENTRY])
    agents.join(run_id, "host", "1@2")
    assert ledger.entries() == [ENTRY]
    with database.transaction() as session:
        session.execute(text(f"UPDATE {change}"))
    with pytest.raises(OutputError, match="holds what autoprune did not write"):
        ledger.entries(), agents.all(), runs.all()


@pytest.mark.parametrize("name", ["plain", "100% {x} y?z#ü%41"])
def test_any_file_name_works_for_both(tmp_path: Path, name: str) -> None:
    url = sqlite_url(tmp_path / name)
    Database.open(url).close()
    study = open_study(url, "s")
    close_study(study)
    assert os.listdir(tmp_path) == [name]  # closing folds SQLite's side files in


def test_each_connection_has_the_pragmas(url: str, database: Database) -> None:
    study = open_study(url, "s")
    for engine in (database._engine, study._storage._backend.engine):  # type: ignore[attr-defined]
        with engine.connect() as one, engine.connect() as two:
            for connection in (one, two):
                found = [
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("journal_mode", "synchronous", "busy_timeout")
                ]
                assert found == ["wal", 1, 30000]
    close_study(study)


def _use_database(url: str) -> None:
    with Database.open(url) as database:
        database.start_run("r", {}, "m", "d")


def _open_study(url: str) -> None:
    open_study(url, "s")


def _remove_study(url: str) -> None:
    remove_study(url, "s")


@pytest.mark.parametrize("opener", [_use_database, _open_study, _remove_study])
class TestUnusable:
    def test_a_missing_folder(self, tmp_path: Path, opener: Any) -> None:
        with pytest.raises(OutputError, match=r"missing/study\.db' cannot be used \(unable"):
            opener(sqlite_url(tmp_path / "missing" / "study.db"))

    def test_a_folder_in_place_of_the_file(self, tmp_path: Path, opener: Any) -> None:
        with pytest.raises(OutputError, match="unable to open"):
            opener(sqlite_url(tmp_path))

    def test_a_file_that_is_no_database(self, tmp_path: Path, opener: Any) -> None:
        (tmp_path / "notes.txt").write_text("not a database" * 99)
        with pytest.raises(OutputError, match="file is not a database") as caught:
            opener(sqlite_url(tmp_path / "notes.txt"))
        told = str(caught.value)
        assert "\n" not in told
        for part in ("is damaged, or no SQLite database", "--if-exists overwrite", "--database"):
            assert part in told
        assert "free space" not in told  # the folder is not to blame

    def test_a_file_that_is_damaged(self, tmp_path: Path, opener: Any) -> None:
        file = tmp_path / "study.db"
        opener(sqlite_url(file))
        file.write_bytes(file.read_bytes()[:100] + bytes(4096))
        with pytest.raises(OutputError, match=r"is damaged.*malformed.*--if-exists overwrite"):
            opener(sqlite_url(file))

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path, opener: Any) -> None:
        tmp_path.chmod(0o500)
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(OutputError):
            opener(sqlite_url(tmp_path / "study.db"))

    def test_a_file_that_cannot_be_written(self, tmp_path: Path, opener: Any) -> None:
        Database.open(sqlite_url(tmp_path / "study.db")).close()
        (tmp_path / "study.db").chmod(0o400)
        if os.access(tmp_path / "study.db", os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(OutputError):
            opener(sqlite_url(tmp_path / "study.db"))

    @pytest.mark.parametrize(
        "url",
        [
            "nonsense",
            "unknown://me:hunter2@host/db",
            "postgresql://me:hunter2@host:port/db",
            "postgresql://me:x@hunter2@host/db",
            "postgresql://me:x@y/hunter2@host/db",
            "postgresql://me@server:hunter2@host:port/db",
            "unknown://host/db?password=hunter2",
        ],
    )
    def test_a_url_that_cannot_be_used(self, url: str, opener: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            opener(url)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////a:b@c.db", "sqlite:////a:b@c.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql+psycopg://me:pw@host:1/db", "postgresql+psycopg://me:***@host:1/db"),
        ("postgresql://me:p@/?w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@server:pw@host/db", "postgresql://me@server:***@host/db"),
        ("postgresql://me?:pw@host/db", "postgresql://me?:***@host/db"),
        ("postgresql://me@host:1/db", "postgresql://me@host:1/db"),
        ("x://h/db?a=1&sslpassword=pw&b=2", "x://h/db?a=1&sslpassword=***&b=2"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_server_that_cannot_be_used_is_named_in_one_paragraph_without_its_password() -> None:
    url = make_url("postgresql://me:hunter2@host/db")
    error = explain(url, Exception("no answer to hunter2\n\tIs the server running?"))
    assert isinstance(error, ConfigError)
    assert str(error).startswith(
        "The database 'postgresql://me:***@host/db' cannot be used "
        "(no answer to *** Is the server running?). Check that the server runs"
    )


def test_a_study_on_a_full_disk_is_the_users_to_mend(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "full.db")
    study = open_study(url, "s")
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    event.listen(engine, "checkout", lambda connection, *_: connection.execute(_NO_ROOM))
    with pytest.raises(OutputError, match=r"full\.db.*is full.*free space"), readable_study(url):
        _grow(study)
    close_study(study)


_NO_ROOM = "PRAGMA max_page_count = 1"  # no more pages than there are


def _grow(study: optuna.Study) -> None:
    for number in range(200):
        study.set_user_attr(str(number), "x" * 2000)


def test_a_study_is_opened_again_without_a_word(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = optuna.logging.get_verbosity()
    study = open_study(url, "s", direction="maximize")
    study.tell(study.ask(), 1.5)
    close_study(study)
    again = open_study(url, "s", direction="maximize", sampler=optuna.samplers.RandomSampler())
    assert again.best_value == 1.5
    assert isinstance(again.sampler, optuna.samplers.RandomSampler)
    with pytest.raises(ConfigError, match="to maximize, not to minimize"):
        open_study(url, "s")
    close_study(again)
    close_study(again)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


_KILLED = """
import os, signal, sys
from autoprune.storage.study import open_study

study = open_study(sys.argv[1], "s")
done = study.ask()
study.tell(done, done.suggest_float("x", 0, 1))
study.ask().suggest_float("x", 0, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_process_leaves_a_study_that_goes_on(url: str) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, url], check=False)
    assert killed.returncode == -9
    study = open_study(url, "s")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    study.enqueue_trial({"x": 0.5})
    (left,) = unfinished(study)
    assert left.number == 1
    study.tell(left.number, state=TrialState.FAIL)
    assert not unfinished(study)
    states = [t.state for t in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
    trial = study.ask()
    assert trial.suggest_float("x", 0, 1) == 0.5
    study.tell(trial, 0.0)
    assert study.best_trial.number == 2
    close_study(study)


def test_a_row_without_a_score_is_ranked_by_its_loss(database: Database) -> None:
    """Databases of before there were scores."""
    database.record_evaluation(None, KEY, replace(SCORED, score=7.0))
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE ap_evaluation SET score = NULL, stages = NULL"))
    found = database.find_evaluation(KEY)
    assert found is not None
    assert (found.score, found.stages) == (SCORED.loss, ())


def test_stages_are_kept_exactly(database: Database) -> None:
    stages = (Stage(10, 64, 1 / 3, (0.333333, 0.1)), Stage(30, 128, 0.1 + 0.2, (0.3, 0.3)))
    evaluation = replace(SCORED, score=-0.9, stages=stages)
    database.record_evaluation(None, KEY, evaluation)
    assert database.find_evaluation(KEY) == evaluation
