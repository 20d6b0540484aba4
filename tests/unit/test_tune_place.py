"""Where Ray Tune writes is removed at the end, and nobody waits for ever for that."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

from autoprune.execution.workers import tune_experiment
from autoprune.execution.workers.tune_experiment import place


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Return what is not set while the test runs."""
    event = threading.Event()
    yield event
    event.set()


def test_what_was_written_is_removed_and_what_others_have_there_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    with place(str(tmp_path)) as where:
        Path(where, "trial").mkdir(parents=True)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("storage", ["{}/nobody/wrote/here", "unknown://bucket/folder"])
def test_a_place_that_was_never_written_to_is_no_problem(tmp_path: Path, storage: str) -> None:
    with place(storage.format(tmp_path)) as where:
        pass
    assert not Path(where).exists()


def test_a_storage_that_does_not_answer_is_left_alone(
    tmp_path: Path, never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_experiment, "_PATIENCE", 0.01)
    monkeypatch.setattr(tune_experiment, "_remove", lambda where: never.wait())
    with place(str(tmp_path)) as where:
        Path(where).mkdir(parents=True)
    assert Path(where).exists()
