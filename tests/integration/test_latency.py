"""Latency with onnxruntime on a small network: tables, their check, and who may use them."""

import json
from pathlib import Path

import pytest

import autoprune
from autoprune.agent.housing.workspace import DATABASE, LATENCY, STUDY, IfExists
from autoprune.agent.preparing.prepare import example_inputs
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress, silent
from autoprune.errors import ConfigError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.models import RunRow

TARGET = "onnxruntime/threads=1"


def test_tables_are_built_checked_used_and_refused_on_another_device(project: Path) -> None:
    model = load_object("code.py:net", base=project)()
    task = autoprune.Classification(load_object("code.py:loaders", base=project)())
    inputs, place = example_inputs(task), project / "shared.db"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (built,) = autoprune.build_latency(
        model, inputs, targets=TARGET, database=place, error=0.2, progress=silent
    )
    assert (built.target, built.layers, built.timed) == (TARGET, 4, 4)
    assert built.reached
    assert built.measured
    assert built.facts["threads"] == "1"
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())

    (checked,) = autoprune.check_latency(
        model, inputs, targets=[TARGET], policies=2, database=place, error=0.2, progress=silent
    )
    assert checked.fingerprint == built.fingerprint
    assert checked.mape < 0.5  # the machine of a test may be busy
    assert json.loads(json.dumps(checked.to_dict()))["policies"][1]["kept"]

    (stored,) = autoprune.stored_latencies(place)
    assert (stored.target, stored.this_device) == (TARGET, True)

    with pytest.raises(InterruptedError):
        _search(project, place, "fail")
    _swap_device(project / "run")
    with pytest.raises(ConfigError, match="measured on another device") as caught:
        _search(project, place, "resume")
    assert "f" * 12 in str(caught.value)
    assert built.fingerprint[:12] in str(caught.value)

    assert autoprune.forget_latency(TARGET, database=place) >= stored.measurements
    assert autoprune.stored_latencies(place) == []


def _search(project: Path, place: Path, if_exists: IfExists) -> None:
    """Search until the first policy is about to be scored: what prices them is saved by then."""

    def interrupt(event: Progress) -> None:
        if event.stage == "search":
            raise InterruptedError

    autoprune.search(
        load_object("code.py:net", base=project)(),
        task=autoprune.Classification(load_object("code.py:loaders", base=project)()),
        budget=f"latency=95%@{TARGET}",
        trials=1,
        onnx=False,
        out=project / "run",
        if_exists=if_exists,
        runner=f"file:{project / 'runner.yaml'}",
        recovery=autoprune.Recovery(score_steps=1, recover_steps=1, calibration_batches=1),
        database=place,
        progress=interrupt,
    )


def _swap_device(folder: Path) -> None:
    """Make the saved tables those of another device."""
    with Database.open(sqlite_url(folder / DATABASE)) as database:
        run = database.find_run(STUDY)
        assert run is not None
        saved = dict(run.kept[LATENCY])
        saved[TARGET]["device"]["fingerprint"] = "f" * 64
        saved[TARGET]["device"]["facts"]["cpu"] = "another"
        with database.transaction() as session:
            session.get_one(RunRow, run.id).kept = {**run.kept, LATENCY: saved}
