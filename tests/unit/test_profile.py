"""The sensitivity table of a model: known probes are not made again, workers change nothing."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from autoprune.agent.sensitivity import probes
from autoprune.agent.sensitivity.profile import even_shares, measure_sensitivity
from autoprune.core.policy import Policy
from autoprune.core.probing import Probing
from autoprune.core.progress import Progress, silent
from autoprune.core.recovery import Recovery
from autoprune.core.workers import inline
from autoprune.cost.model import CostModel
from autoprune.errors import InfrastructureError
from autoprune.evaluation.probing.probe import Prober
from autoprune.evaluation.probing.sensitivity import Sensitivity
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.execution.workers.local import local_workers
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
        hire=inline if workers == 1 else local_workers(workers, "cpu", 1),
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

    monkeypatch.setattr(probes, "Prober", noted)
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


def dying(times: int, mark: Path) -> Callable[[Prober, str, Sequence[Policy]], object]:
    """Return a probe that ends its process the first few times that it comes to a unit."""
    probe = Prober.probe

    def dies(self: Prober, unit: str, policies: Sequence[Policy]) -> object:
        before = len(list(mark.iterdir()))
        if unit == "inner" and before < times:
            (mark / str(before)).touch()
            os._exit(3)
        return probe(self, unit, policies)

    return dies


def test_what_a_lost_worker_had_to_do_another_one_does(
    scorer: Scorer,
    spaces: dict[str, UnitSpace],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "died").mkdir()
    monkeypatch.setattr(Prober, "probe", dying(2, tmp_path / "died"))
    found = table(scorer, spaces, database, workers=2)
    assert len(list((tmp_path / "died").iterdir())) == 2
    assert found.errors.keys() == spaces.keys()
    assert found.probed == len(found.entries)


def test_where_workers_are_lost_again_and_again_it_ends_and_keeps_what_it_has(
    scorer: Scorer,
    spaces: dict[str, UnitSpace],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "died").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(Prober, "probe", dying(99, tmp_path / "died"))
        with pytest.raises(InfrastructureError) as problem:
            table(scorer, spaces, database, workers=2)
    assert "inner" in str(problem.value)
    assert "cost 3 workers, the last exited with 3. What was probed is kept" in str(problem.value)
    assert table(scorer, spaces, database).errors.keys() == spaces.keys()


def test_shares_are_runs_of_like_work() -> None:
    work = dict(zip("abcdef", (6.0, 2.0, 2.0, 2.0, 2.0, 2.0), strict=True))
    assert even_shares("abcdef", work.__getitem__, 2) == [["a", "b"], ["c", "d", "e", "f"]]
    assert even_shares("a", work.__getitem__, 3) == [["a"]]
    for count in range(1, 9):
        runs = even_shares("abcdef", work.__getitem__, count)
        assert [unit for run in runs for unit in run] == list("abcdef")
        assert all(runs)
