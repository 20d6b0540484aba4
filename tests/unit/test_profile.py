"""The sensitivity table of a model: known probes are not made again, workers change nothing."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from autoprune.agent import profile
from autoprune.agent.forked import shared_out
from autoprune.agent.profile import even_shares, measure_sensitivity
from autoprune.core.probing import Probing
from autoprune.core.progress import Progress, silent
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import DataError
from autoprune.evaluation.importance import rank_atoms
from autoprune.evaluation.probe import Prober
from autoprune.evaluation.scorer import Scorer
from autoprune.evaluation.sensitivity import Sensitivity
from autoprune.space.schema import UnitSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

PROBING = Probing(samples=24, calibration=16)


@pytest.fixture
def scorer(net: nn.Module, plan: Plan, task: Classification) -> Scorer:
    importance = rank_atoms(net, plan, task, ["channel.l1", "channel.l2"], 2, "cpu")
    return Scorer(net, plan, importance, CostModel(net, plan), task, Recovery(), 0, "cpu")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(sqlite_url(tmp_path / "shared.db")) as opened:
        yield opened


def table(
    scorer: Scorer,
    spaces: dict[str, UnitSpace],
    database: Database,
    *,
    workers: int = 1,
    probing: Probing = PROBING,
    told: list[Progress] | None = None,
    model_fp: str = "m",
) -> Sensitivity:
    return measure_sensitivity(
        scorer,
        spaces,
        model_fp=model_fp,
        data_fp="d",
        database=database,
        probing=probing,
        workers=workers,
        progress=silent if told is None else told.append,
    )


def test_a_table_covers_every_unit_method_and_level(
    scorer: Scorer, spaces: dict[str, UnitSpace], database: Database
) -> None:
    told: list[Progress] = []
    found = table(scorer, spaces, database, told=told)
    assert found.errors.keys() == found.noise.keys() == spaces.keys()
    for unit, space in spaces.items():
        assert found.errors[unit].keys() == set(space.methods)
        for method in space.methods:
            assert found.errors[unit][method].shape == (space.levels,)
            assert found.errors[unit][method][0] == 0.0
    assert found.samples == 24
    assert found.probed == len(found.entries) == told[-1].done == told[-1].total
    assert found.sample_forwards > 24 * found.probed / 2
    assert found.seconds > 0
    assert told[-1].stage == "sensitivity"
    entry = found.entries[0]
    assert entry.loss is not None
    assert entry.given_up == pytest.approx(entry.loss - found.dense_loss)


def test_what_is_known_costs_nothing_and_is_said(
    scorer: Scorer,
    spaces: dict[str, UnitSpace],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = table(scorer, spaces, database)
    made: list[object] = []

    def noted(*args: object) -> Prober:
        made.append(args)
        return Prober(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(profile, "Prober", noted)
    told: list[Progress] = []
    again = table(scorer, spaces, database, told=told)
    assert not made
    assert (again.sample_forwards, again.seconds, again.probed) == (0, 0, 0)
    assert again.to_dict() == {**first.to_dict(), "sample_forwards": 0, "seconds": 0, "probed": 0}
    assert "known from before" in str(told[-1].note)
    assert table(scorer, spaces, database, model_fp="other").probed == first.probed
    assert table(replace(scorer, seed=1), spaces, database).probed == first.probed
    full = table(scorer, spaces, database, probing=replace(PROBING, levels="full"))
    assert 0 < full.probed < len(full.entries)
    assert len(made) == 3


def test_a_table_goes_on_where_it_was_interrupted(
    scorer: Scorer, spaces: dict[str, UnitSpace], database: Database
) -> None:
    def stop(event: Progress) -> None:
        if event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(
            scorer,
            spaces,
            model_fp="m",
            data_fp="d",
            database=database,
            probing=PROBING,
            progress=stop,
        )
    rest = table(scorer, spaces, database)
    assert 0 < rest.probed < len(rest.entries)
    assert rest.errors.keys() == spaces.keys()


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_change_no_number(
    scorer: Scorer, spaces: dict[str, UnitSpace], tmp_path: Path, workers: int
) -> None:
    found = []
    for count in (1, workers):
        with Database.open(sqlite_url(tmp_path / f"{count}.db")) as database:
            found.append(table(scorer, spaces, database, workers=count))
    one, many = found
    assert many.entries == one.entries
    assert many.probed == one.probed
    for unit in spaces:
        for method, errors in one.errors[unit].items():
            assert np.array_equal(errors, many.errors[unit][method])


def test_what_a_lost_worker_had_to_do_is_done_here(
    scorer: Scorer,
    spaces: dict[str, UnitSpace],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe = Prober.probe

    def dying(self: Prober, unit: str, policies: object) -> object:
        if unit == "inner" and multiprocessing.parent_process() is not None:
            os._exit(3)
        return probe(self, unit, policies)  # type: ignore[arg-type]

    monkeypatch.setattr(Prober, "probe", dying)
    told: list[Progress] = []
    found = table(scorer, spaces, database, workers=2, told=told)
    notes = [event.note for event in told if event.note]
    assert len(notes) == 1
    assert "ended with exit code 3" in notes[0]
    assert found.errors.keys() == spaces.keys()
    assert found.probed == len(found.entries)


def test_shares_are_runs_of_like_work() -> None:
    work = dict(zip("abcdef", (6.0, 2.0, 2.0, 2.0, 2.0, 2.0), strict=True))
    assert even_shares("abcdef", work.__getitem__, 2) == [["a", "b"], ["c", "d", "e", "f"]]
    assert even_shares("a", work.__getitem__, 3) == [["a"]]
    for count in range(1, 9):
        runs = even_shares("abcdef", work.__getitem__, count)
        assert [unit for run in runs for unit in run] == list("abcdef")
        assert all(runs)


def test_an_error_of_the_data_in_a_worker_is_raised_here() -> None:
    def job(number: int) -> Iterator[int]:
        if number:
            raise DataError("wrong targets")
        yield number

    with pytest.raises(DataError, match="wrong targets"):
        list(shared_out([0, 1], job))


_THREADS = """
import torch
from autoprune.agent.forked import shared_out

torch.set_num_threads(4)
x = torch.randn(300, 300)
y = torch.nn.functional.conv2d(torch.randn(8, 8, 64, 64), torch.randn(8, 8, 3, 3))
here = float((x @ x).exp().sum() * 0 + (x * 2).sum())  # OpenMP has started its threads

def job(seed):
    for _ in range(3):
        conv = torch.nn.functional.conv2d(torch.ones(8, 8, 64, 64), torch.ones(8, 8, 3, 3))
        yield seed, torch.get_num_threads(), float((x @ x).sum()), float(conv.sum())

found = list(shared_out(range(4), job))
assert sorted(seed for seed, *_ in found) == sorted([0, 1, 2, 3] * 3)
assert {threads for _, threads, *_ in found} == {1}
assert len({total for *_, total, _ in found}) == 1
assert torch.get_num_threads() == 4
print("done")
"""


def test_workers_start_after_openmp_has_run_with_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _THREADS],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "4"},
    )
    assert done.stdout == "done\n", done.stderr
