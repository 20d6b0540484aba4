"""What reports are made of: everything that a run kept, read as it is, and no secrets."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autoprune.agent.housing.listed import find_listed
from autoprune.agent.housing.workspace import LATENCY, STUDY
from autoprune.artifacts.result import Result
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.core.yardstick import Yardstick
from autoprune.errors import ConfigError
from autoprune.reporting.evidence import RunEvidence, Sensed
from autoprune.reporting.gather import gather
from autoprune.reporting.secrets import without_secrets
from autoprune.reporting.units import unit_facts
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.runs import Runs
from benchmarks.report.made import make_run

UNITS = ("stem", "layer1.conv", "layer2.conv")
TRIALS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return the folder of a finished run, and its result."""
    folder = tmp_path_factory.mktemp("runs") / "night"
    return folder, make_run(folder, TRIALS, UNITS)


@pytest.fixture(scope="module")
def run(made: tuple[Path, Result]) -> RunEvidence:
    return gather(find_listed(str(made[0]), None))


def test_a_finished_run_is_read_whole(run: RunEvidence, made: tuple[Path, Result]) -> None:
    assert (run.name, run.state, run.missing) == ("night", "finished", [])
    assert run.result == made[1]
    assert run.settings["trials"] == TRIALS
    assert (run.model_fp, run.data_fp) == ("m" * 64, "d" * 64)
    assert run.yardstick == Yardstick(metric="top-1", dense_macs=made[1].dense.macs)
    assert (run.metric, run.dense["macs"]) == ("top-1", made[1].dense.macs)


def test_each_trial_says_what_became_of_it(run: RunEvidence) -> None:
    counted = Counter(one.fate for one in run.trials)
    lots = TRIALS // 20
    assert counted["stopped"] == counted["failed"] == counted["given back"] == lots
    assert counted["infeasible"] == lots
    assert counted["reverted"] == 2, "of three that examined a decision"
    assert counted.total() == TRIALS
    scored = [one for one in run.trials if one.score is not None]
    assert all(one.quality is not None and one.costs["macs"] > 0 for one in scored)
    failed = next(one for one in run.trials if one.fate == "failed")
    assert (failed.score, failed.said) == (None, "failed: a loss is NaN")


def test_predictions_are_beside_their_scores(run: RunEvidence) -> None:
    made = [one for one in run.trials if one.prediction]
    assert len(made) == sum(one.score is not None for one in run.trials[20:])
    assert all(one.prediction and one.prediction.score == one.score for one in made)
    records = [one.record["count"] for one in run.trials if one.record]
    assert records == sorted(records)


def test_where_the_time_went_adds_up(run: RunEvidence, made: tuple[Path, Result]) -> None:
    spent = {one.part: one for one in run.spent}
    assert spent["sensitivity table"].seconds == 90
    assert spent["fine-tuning finalists"].seconds == 400
    assert spent["test split and checks"].seconds == 12.5
    total = sum(one.sample_forwards or 0 for one in run.spent)
    assert total == pytest.approx(made[1].search.sample_forwards)


def test_units_know_what_they_gave_up(run: RunEvidence) -> None:
    assert run.result is not None
    facts = {one.unit: one for one in unit_facts(run.result, run.sensed, run.ledger)}
    assert list(facts) == list(UNITS)
    cut = next(one for one in facts.values() if one.method)
    choice = run.result.policy[cut.unit]
    level, number = round(choice.sparsity * 10), UNITS.index(cut.unit) + 1
    assert cut.sensitivity == pytest.approx(0.01 * number * level)
    told = dict(cut.told)
    assert told["method"] == choice.method
    assert told["atoms kept"].startswith(f"{cut.kept} of {cut.atoms}")
    assert "of dense" in told["MACs saved"]
    examined = facts[UNITS[0]].examined
    assert examined is not None
    assert examined == run.ledger[-1]
    assert dict(facts[UNITS[0]].told)["regret"].startswith(f"{examined.regret:+.4f}")


def test_what_was_not_written_down_is_not_guessed(run: RunEvidence) -> None:
    assert run.result is not None
    old = run.result.model_copy(
        update={"cuts": [c.model_copy(update={"macs_saved": None}) for c in run.result.cuts]}
    )
    told = dict(unit_facts(old, Sensed(errors=run.sensed.errors), ())[0].told)
    assert (told["MACs saved"], told["sensitivity"], told["regret"]) == ("", "", "")


def test_a_stopped_run_says_what_is_missing(tmp_path: Path) -> None:
    make_run(tmp_path / "cut", 4, UNITS, finished=False)
    run = gather(find_listed(str(tmp_path / "cut"), None))
    assert (run.state, run.result, run.told, run.metric) == ("stopped", None, None, "quality")
    assert "--if-exists resume" in run.missing[0]
    assert len(run.trials) == 4


def test_a_running_one_says_how_far_it_is(tmp_path: Path) -> None:
    make_run(tmp_path / "now", 4, UNITS, finished=False)
    beat = Heartbeat(time.time(), 1, {"stage": "search", "done": 4, "total": 9})
    (tmp_path / "now" / HEARTBEAT).write_text(beat.to_json())
    run = gather(find_listed(str(tmp_path / "now"), None))
    assert (run.state, run.progress) == ("running", "search 4 of 9")
    assert "being searched" in run.missing[0]


def test_a_latency_table_stands_beside_what_it_says_of_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "timed"
    result = make_run(folder, 8, UNITS)
    grid = {"candidates": [[1]], "lines": [[1]], "seconds": [[[1], 0.5], [[2], 0.7]]}
    saved = {
        "device": {"fingerprint": "f" * 64, "facts": {"cpu": "A processor", "threads": "1"}},
        "steps": [1, 1],
        "fit": {"weights": [1.0], "error": 0.04, "models": 9},
        "grids": {"conv": grid},
    }
    with Database.open(sqlite_url(folder / "autoprune.db")) as database:
        known = database.find_run(STUDY)
        assert known is not None
        Runs(database).keep(known.id, LATENCY, {"onnxruntime": saved})
    (table,) = gather(find_listed(str(folder), None)).latency
    assert (table.target, table.layers, table.models, table.error) == ("onnxruntime", 2, 9, 0.04)
    assert table.device["cpu"] == "A processor"
    assert table.predicted_ms is None, f"no trial has the {result.pruned.macs} MACs of the result"


def test_reading_changes_no_file(made: tuple[Path, Result]) -> None:
    before = {p.name: p.read_bytes() for p in made[0].iterdir() if p.suffix == ".json"}
    gather(find_listed(str(made[0]), None))
    assert {p.name: p.read_bytes() for p in made[0].iterdir() if p.suffix == ".json"} == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path, made: tuple[Path, Result]) -> None:
    with pytest.raises(ConfigError, match=r"There is no run .*runs list shows"):
        find_listed(str(tmp_path), None)
    (made[0] / "point-1").mkdir()
    with pytest.raises(ConfigError, match="It may be a point of the run in"):
        find_listed(str(made[0] / "point-1"), None)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        ("failed: could not reach postgresql+psycopg://me:hunter2@host/db now", "hunter2"),
        ({"a": ["https://host/x?token=hunter2&y=1"]}, "hunter2"),
        ({"deep": {"er": "redis://:hunter2@host"}}, "hunter2"),
    ],
)
def test_secrets_are_starred_out(content: Any, secret: str) -> None:
    text = json.dumps(without_secrets(content))
    assert secret not in text
    assert "host" in text
