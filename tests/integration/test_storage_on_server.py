"""What several processes store on one PostgreSQL at the same moment."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import event

from autoprune.core.policy import Choice, Policy
from autoprune.storage.database import Database
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs

KEY = EvaluationKey("model", "data", "policy", "way")
LONG = 60.0  # seconds that a thread may take on a busy machine


@pytest.fixture
def pair(postgres: str) -> Iterator[tuple[Database, Database]]:
    """Return one database as two processes see it."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(Database.open(postgres)) for _ in range(2))
        yield first, second


def scored(loss: float) -> Evaluation:
    return Evaluation(Policy({"stem": Choice("channel.l1", 0.5)}), "scored", loss, 0.5, 1.0, 1.0)


def on_first(database: Database, when: str, word: str, call: Callable[[], object]) -> None:
    """Call something beside the first statement of a database that begins with a word."""
    done: list[str] = []

    @event.listens_for(database._engine, when)
    def heard(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(word) and not done:
            done.append(statement)
            call()


def test_what_is_kept_first_stays(pair: tuple[Database, Database]) -> None:
    first, second = pair
    run = first.start_run("run", {}, "model", "data")
    kept = [Runs(one).keep(run, "table", {"by": name}) for one, name in ((first, 1), (second, 2))]
    assert kept == [{"by": 1}, {"by": 1}]
    Runs(second).begin(run, {"trials": 9}, "folder")
    found = first.find_run("run")
    assert found is not None
    assert found.config == {"trials": 9}
    assert found.kept == {"table": {"by": 1}, "place": {"folder": "folder"}}


def test_of_two_that_replace_an_evaluation_at_once_the_last_one_stays(
    pair: tuple[Database, Database],
) -> None:
    first, second = pair
    runs = [one.start_run(name, {}, "model", "data") for one, name in zip(pair, "ab", strict=True)]
    first.record_evaluation(runs[0], KEY, scored(1.0))
    asked = threading.Event()
    other = threading.Thread(
        target=second.replace_evaluation, args=(runs[1], KEY, scored(3.0)), daemon=True
    )

    def meanwhile() -> None:
        other.start()
        assert asked.wait(LONG)
        time.sleep(0.5)  # until the server has it wait for the first one

    on_first(first, "after_cursor_execute", "DELETE", meanwhile)
    on_first(second, "before_cursor_execute", "DELETE", asked.set)
    first.replace_evaluation(runs[0], KEY, scored(2.0))
    other.join(LONG)
    assert first.find_evaluation(KEY) == scored(3.0)
    assert [len(first.evaluations(run)) for run in runs] == [0, 1]
