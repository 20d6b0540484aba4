"""The sensitivity table of a search: measured once, kept with the run, left out where asked."""

from pathlib import Path
from typing import Any

import pytest

import autoprune
from autoprune.agent.housing.workspace import STUDY
from autoprune.agent.results.result import SearchResult
from autoprune.agent.sensitivity import sensed
from autoprune.agent.sensitivity.profile import measure_sensitivity
from autoprune.core.imports import load_object
from autoprune.evaluation.probing.sensitivity import Sensitivity
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url

RECOVERY = autoprune.Recovery(score_steps=2, recover_steps=4, finalists=1, calibration_batches=2)


class Measured:
    """Counts how often a table is measured, and keeps the last one."""

    def __init__(self) -> None:
        self.count = 0
        self.table: Sensitivity | None = None

    def __call__(self, *args: Any, **given: Any) -> Sensitivity:
        self.count += 1
        self.table = measure_sensitivity(*args, **given)
        return self.table


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measured:
    monkeypatch.setenv("AUTOPRUNE_DATABASE", str(tmp_path / "shared.db"))
    found = Measured()
    monkeypatch.setattr(sensed, "measure_sensitivity", found)
    return found


def search(project: Path, out: Path, **changes: Any) -> SearchResult:
    given: dict[str, Any] = {
        **{"budget": "macs=50%", "trials": 3, "onnx": False, "recovery": RECOVERY},
        **{"constructor": "code.py:net", "runner": f"file:{project / 'runner.yaml'}"},
        **{"progress": lambda event: None, "out": out},
    }
    task = autoprune.Classification(load_object("code.py:loaders", base=project)())
    found: SearchResult = autoprune.search(
        load_object("code.py:net", base=project)(), task=task, **given | changes
    )
    return found


def kept_by(folder: Path) -> Any:
    with Database.open(sqlite_url(folder / "autoprune.db")) as database:
        run = database.find_run(STUDY)
        assert run is not None
        return run.kept["sensitivity"]


@pytest.fixture(autouse=True)
def _at_home(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user_folder)


def test_a_search_that_goes_on_does_not_measure_again(
    user_folder: Path, tmp_path: Path, measured: Measured
) -> None:
    first = search(user_folder, tmp_path / "run")
    assert measured.count == 1
    assert measured.table is not None
    kept = kept_by(tmp_path / "run")
    for unit, own in measured.table.errors.items():
        assert {m: list(errors) for m, errors in own.items()} == kept["errors"][unit]
    cost = first.result.search
    assert cost.sensitivity_forwards == kept["sample_forwards"] > 0
    (tmp_path / "shared.db").unlink()  # the run's own table is enough
    more = search(user_folder, tmp_path / "run", trials=5, if_exists="resume")
    assert measured.count == 1
    assert more.result.search.sensitivity_forwards == cost.sensitivity_forwards
    at_once = search(user_folder, tmp_path / "other", trials=5)
    assert measured.count == 2
    assert at_once.policy == more.policy
    assert at_once.result.search.sensitivity_forwards == cost.sensitivity_forwards


def test_another_search_of_the_model_finds_its_probes_in_the_shared_database(
    user_folder: Path, tmp_path: Path, measured: Measured
) -> None:
    first = search(user_folder, tmp_path / "run")
    again = search(user_folder, tmp_path / "again")
    assert first.result.search.sensitivity_forwards > 0
    assert again.result.search.sensitivity_forwards == 0, "it cost nothing more"
    assert again.policy == first.policy


@pytest.mark.parametrize(
    "changes",
    [{"sensitivity": False}, {"sampler": "tpe"}, {"sampler": "uniform"}, {"sampler": "random"}],
    ids=str,
)
def test_where_nobody_asks_for_it_nothing_is_measured(
    user_folder: Path, tmp_path: Path, measured: Measured, changes: dict[str, Any]
) -> None:
    found = search(user_folder, tmp_path / "run", **changes)
    assert measured.count == 0
    assert not kept_by(tmp_path / "run")["errors"]
    assert found.result.search.sensitivity_forwards == 0


@pytest.mark.parametrize("sampler", ["budgeted", "spdy", "minimax"])
def test_samplers_that_allocate_by_it_get_it(
    user_folder: Path, tmp_path: Path, measured: Measured, sampler: str
) -> None:
    search(user_folder, tmp_path / "run", sampler=sampler, trials=1)
    assert measured.count == 1


def test_starting_over_measures_anew(
    user_folder: Path, tmp_path: Path, measured: Measured
) -> None:
    search(user_folder, tmp_path / "run", trials=1)
    search(user_folder, tmp_path / "run", trials=1, if_exists="overwrite", sampler="tpe")
    assert measured.count == 1
    assert not kept_by(tmp_path / "run")["errors"]
    search(user_folder, tmp_path / "run", trials=1, if_exists="overwrite")
    assert measured.count == 2
