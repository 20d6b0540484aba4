"""What passes between a search and Ray Tune, and what is left of it, without Ray running."""

import copy
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from autoprune.errors import InfrastructureError
from autoprune.execution.workers.tune import _run
from autoprune.execution.workers.tune_events import Exchange
from autoprune.execution.workers.tune_experiment import place
from autoprune.execution.workers.tune_trial import FOUND, JOB


class Trial:
    """As much of Tune's trial as matters here: it holds its configuration in two forms."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = copy.deepcopy(config)
        self.evaluated_params = copy.deepcopy(config)
        self.experiment_tag = str(config)
        self.stale = False

    def invalidate_json_state(self) -> None:
        self.stale = True


def begun(exchange: Exchange, job: bytes) -> Trial:
    exchange.give(7, job)
    config = exchange.next()
    assert config is not None
    trial = Trial(config)
    exchange.begun(cast(Any, trial))
    return trial


def size(trial: Trial) -> int:
    return len(pickle.dumps(trial))


def test_of_a_trial_that_ended_tune_keeps_next_to_nothing() -> None:
    exchange = Exchange("nobody")
    trial = begun(exchange, os.urandom(50_000))
    assert len(trial.experiment_tag) < 100
    assert 50_000 < size(trial) < 52_000, "both forms hold the same job"
    assert pickle.loads(pickle.loads(pickle.dumps(trial.config[JOB])).content)
    exchange.reported(cast(Any, trial), {FOUND: ("found", None)})
    exchange.ended(cast(Any, trial))
    assert size(trial) < 1_000
    assert trial.stale, "what Tune has written of it is written anew"
    assert cast(Any, exchange.news.get()).result == "found"


def test_of_a_trial_that_was_lost_tune_keeps_next_to_nothing() -> None:
    exchange = Exchange("nobody")
    trial = begun(exchange, os.urandom(50_000))
    trial.get_pickled_error = trial.get_error = lambda: None  # type: ignore[attr-defined]
    exchange.lost(cast(Any, trial))
    del trial.get_pickled_error, trial.get_error  # type: ignore[attr-defined]
    assert size(trial) < 1_000
    assert "ended" in cast(Any, exchange.news.get()).lost


@pytest.mark.parametrize("relative", [False, True])
def test_nothing_is_left_in_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "shared" / "of another run"
    mine.mkdir(parents=True)
    with place("shared/" if relative else str(tmp_path / "shared")) as where:
        Path(where, "trials").mkdir(parents=True)
        Path(where, "trials", "weights").write_bytes(b"0")
        assert Path(where).parent == tmp_path / "shared"
    assert list((tmp_path / "shared").iterdir()) == [mine]


def test_a_storage_that_was_never_written_to_is_no_problem(tmp_path: Path) -> None:
    with place(str(tmp_path / "shared")) as where:
        assert not Path(where).exists()
    assert not (tmp_path / "shared").exists()


def test_without_storage_it_is_a_folder_for_a_while() -> None:
    with place(None) as where:
        assert Path(where).is_dir()
    assert not Path(where).exists()


def test_tune_that_ends_by_itself_is_told_of() -> None:
    exchange = Exchange("nobody")
    _run(cast(Any, SimpleNamespace(fit=lambda: None)), exchange)
    assert isinstance(exchange.news.get(), InfrastructureError)
    exchange.closed = True
    _run(cast(Any, SimpleNamespace(fit=lambda: None)), exchange)
    assert exchange.news.empty(), "it was asked to"
