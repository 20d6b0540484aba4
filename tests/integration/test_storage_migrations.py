import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Choice, Policy
from autoprune.core.target import Target
from autoprune.errors import ConfigError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.latencies import Latencies, devices
from autoprune.storage.ledger import Ledger
from autoprune.storage.migrate import CONTEXT_OPTIONS
from autoprune.storage.models import Base
from autoprune.storage.records import EvaluationKey, Latency
from autoprune.storage.sensitivities import Sensitivities, StoredProbe
from autoprune.storage.study import close_study, open_study

PROBE = StoredProbe(
    loss=1.5,
    quality=0.5,
    stderr=0.1,
    samples=64,
    reason=None,
    sample_forwards=96.0,
    seconds=0.1,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


def _tables(url: str) -> set[str]:
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def _use_ours(url: str) -> None:
    with Database.open(url) as database:
        if database.find_run("r") is None:
            database.start_run("r", {}, "m", "d")


def _use_optuna(url: str) -> None:
    study = open_study(url, "s")
    study.tell(study.ask(), 1.0)
    close_study(study)


def test_the_migrated_tables_are_those_of_the_models(url: str) -> None:
    _use_optuna(url)
    _use_ours(url)
    engine = create_engine(url)
    options = {**CONTEXT_OPTIONS, "compare_type": True, "compare_server_default": True}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_constraints_have_the_same_names_as_in_the_models(url: str, tmp_path: Path) -> None:
    _use_ours(url)
    migrated, made = create_engine(url), create_engine(sqlite_url(tmp_path / "made.db"))
    Base.metadata.create_all(made)
    for table in Base.metadata.tables:
        for names in ("get_unique_constraints", "get_foreign_keys", "get_pk_constraint"):
            assert getattr(inspect(migrated), names)(table) == getattr(inspect(made), names)(table)
    migrated.dispose()
    made.dispose()


@pytest.mark.parametrize("ours_first", [True, False])
def test_optuna_and_our_tables_live_in_one_file(url: str, ours_first: bool) -> None:
    order = [_use_ours, _use_optuna] if ours_first else [_use_optuna, _use_ours]
    for use in [*order, *order]:
        use(url)
    assert {"ap_run", "ap_evaluation", "ap_alembic_version", "trials", "alembic_version"} <= (
        _tables(url)
    )
    assert len(optuna.load_study(study_name="s", storage=url).trials) == 2
    with Database.open(url) as database:
        assert database.find_run("r") is not None


def _migrate(url: str, move: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "autoprune.storage:migrations")
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        move(config, revision)
    engine.dispose()


def test_a_database_of_the_first_revision_gets_the_latencies_and_keeps_its_runs(url: str) -> None:
    _migrate(url, command.upgrade, "r0001")
    assert _tables(url) == {"ap_run", "ap_evaluation", "ap_alembic_version"}
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ap_run (name, created_at, config, model_fp, data_fp) "
                "VALUES ('old', '2026-01-01 00:00:00', '{}', 'm', 'd')"
            )
        )
    engine.dispose()
    with Database.open(url) as database:
        run = database.find_run("old")
        assert run is not None
        latencies = Latencies(database, {"cpu": "x"}, Target("pytorch"))
        latencies.add("linear", (8, 4), Latency(2e-3, 1e-3, 3e-3))
        assert latencies.known("linear") == {(8, 4): 2e-3}
    assert {"ap_device", "ap_latency"} <= _tables(url)


def test_a_database_with_latencies_gets_the_sensitivities_and_keeps_them(url: str) -> None:
    _migrate(url, command.upgrade, "r0002")
    before = _tables(url)
    assert "ap_sensitivity" not in before
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ap_device (fingerprint, facts, created_at) "
                "VALUES ('f', '{}', '2026-01-01 00:00:00')"
            )
        )
    engine.dispose()
    policy = Policy({"u": Choice("channel.l1", 0.5)})
    with Database.open(url) as database:
        stored = Sensitivities(database, "m", "d", "p")
        stored.add(policy, PROBE)
        assert stored.known() == {policy.fingerprint: PROBE}
        assert set(devices(database)) == {"f"}
    assert _tables(url) == before | {
        *("ap_sensitivity", "ap_ledger", "ap_checkpoint", "ap_agent", "ap_lease")
    }


def test_the_sensitivities_can_be_taken_out_again(url: str) -> None:
    _use_ours(url)
    _migrate(url, command.downgrade, "r0002")
    assert "ap_sensitivity" not in _tables(url)
    assert "ap_latency" in _tables(url)


def test_evaluations_of_before_there_were_stages_stay_and_rank_by_loss(url: str) -> None:
    _migrate(url, command.upgrade, "r0002")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ap_evaluation (model_fp, data_fp, policy_fp, evaluator_fp, policy, "
                "outcome, loss, quality, sample_forwards, seconds, created_at) VALUES "
                "('m', 'd', 'p', 'e', '{}', 'scored', 0.25, 0.9, 1, 1, '2026-01-01 00:00:00')"
            )
        )
    engine.dispose()
    with Database.open(url) as database:
        found = database.find_evaluation(EvaluationKey("m", "d", "p", "e"))
    assert found is not None
    assert (found.score, found.stages) == (0.25, ())
    _migrate(url, command.downgrade, "r0002")
    with Database.open(url) as database:
        assert database.find_evaluation(EvaluationKey("m", "d", "p", "e")) == found


def test_entries_of_the_ledger_get_a_step_and_lose_it_again(url: str) -> None:
    one, two = (Policy({"u": Choice("channel.l1", share)}) for share in (0.5, 0.25))
    entry = LedgerEntry(
        units=("u",),
        policy=one,
        alternative=two,
        outcome=Outcome.NOISE,
        expected_regret=None,
        score_before=0.5,
        score_after=0.4,
        quality_before=0.9,
        quality_after=0.9,
        costs_before={"macs": 1.0},
        costs_after={"macs": 1.0},
        p_value=0.2,
        threshold=0.05,
        sample_forwards=1.0,
    )
    _use_ours(url)

    def stored(*more: LedgerEntry) -> list[LedgerEntry]:
        with Database.open(url) as database:
            run = database.find_run("r")
            assert run is not None
            ledger = Ledger(database, run.id)
            for one in more:
                ledger.add_all([one])
            return ledger.entries()

    assert stored(entry, entry) == [entry]
    _migrate(url, command.downgrade, "r0005")
    assert "ap_checkpoint" not in _tables(url)
    assert stored() == [entry], "an entry of before there were steps is one of the search"
    step = replace(entry, step=2)
    assert stored(step, step, entry) == [entry, step]
    _migrate(url, command.downgrade, "r0005")
    assert stored() == [entry], "an older version knows no steps"


def test_the_latencies_can_be_taken_out_again(url: str) -> None:
    _use_ours(url)
    _migrate(url, command.downgrade, "r0001")
    assert _tables(url) == {"ap_run", "ap_evaluation", "ap_alembic_version"}


def test_tables_of_a_newer_autoprune_are_refused_and_left_alone(url: str) -> None:
    _use_ours(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE ap_alembic_version SET version_num = 'r9999'"))
    before = _tables(url)
    with pytest.raises(ConfigError, match=r"revision r9999.*pip install -U autoprune"):
        Database.open(url)
    assert _tables(url) == before
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM ap_alembic_version")).scalar_one()
    assert found == "r9999"
    engine.dispose()


_OPEN = """
import sys, time
from autoprune.storage.database import Database
from autoprune.storage.records import EvaluationKey, Latency
from autoprune.storage.study import open_study

time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
open_study(sys.argv[1], "s")
Database.open(sys.argv[1]).close()
"""


def test_many_processes_may_open_a_new_database_at_once(url: str) -> None:
    start = str(time.time() + 2.5)
    started = [
        subprocess.Popen([sys.executable, "-c", _OPEN, url, start], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in started] == [b""] * 4
    _use_ours(url)
    _use_optuna(url)
