"""A search that starts from an earlier run: alike after a resume, and nothing paid twice."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import autoprune
from autoprune.agent.housing.workspace import DATABASE, STUDY
from autoprune.agent.results.result import SearchResult
from autoprune.core.imports import load_object
from autoprune.core.policy import Policy
from autoprune.errors import RunExistsError
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation

RECOVERY = autoprune.Recovery(score_steps=2, recover_steps=2, finalists=1, calibration_batches=2)


@pytest.fixture(autouse=True)
def _at_home(user_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(user_folder)
    monkeypatch.setenv("AUTOPRUNE_DATABASE", str(tmp_path / "shared.db"))


def search(project: Path, out: Path, **changes: Any) -> SearchResult:
    given: dict[str, Any] = {
        **{"budget": "macs=50%", "trials": 6, "onnx": False, "recovery": RECOVERY},
        **{"runner": f"file:{project / 'runner.yaml'}", "progress": lambda event: None},
    }
    task = autoprune.Classification(load_object("code.py:loaders", base=project)())
    model = load_object("code.py:net", base=project)()
    found: SearchResult = autoprune.search(model, task=task, out=out, **given | changes)
    return found


def scored(folder: Path) -> list[Evaluation]:
    with Database.open(sqlite_url(folder / DATABASE)) as database:
        run = database.find_run(STUDY)
        assert run is not None
        return [one for one in database.evaluations(run.id) if one.outcome == "scored"]


def test_a_search_that_goes_on_needs_the_earlier_run_no_more(
    user_folder: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    search(user_folder, earlier, budget="macs=70%", seed=3)
    count = len(scored(earlier))
    whole = search(user_folder, tmp_path / "whole", trials=9, warm_start=earlier)
    assert whole.result.search.warm_start == count
    assert f"Warm start from {count} earlier" in (whole.folder / "report.md").read_text()

    search(user_folder, tmp_path / "cut", trials=5, warm_start=[earlier])
    more: dict[str, Any] = {"out": tmp_path / "cut", "trials": 9, "if_exists": "resume"}
    with pytest.raises(RunExistsError, match="warm_start: "):
        search(user_folder, warm_start=tmp_path / "whole", **more)
    shutil.rmtree(earlier)
    resumed = search(user_folder, **more)
    assert resumed.result.search.warm_start == count
    assert [e.policy for e in scored(resumed.folder)] == [e.policy for e in scored(whole.folder)]
    assert resumed.policy == whole.policy


def test_the_best_comes_first_and_is_not_paid_again(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scored(search(user_folder, tmp_path / "earlier").folder)
    asked: list[Policy] = []
    score = Scorer.score

    def counted(self: Scorer, policy: Policy, steps: int, *rest: Any) -> Any:
        asked.append(policy)
        return score(self, policy, steps, *rest)

    monkeypatch.setattr(Scorer, "score", counted)
    again = search(user_folder, tmp_path / "again", trials=6, warm_start=tmp_path / "earlier")
    assert again.result.search.evaluations == 6
    assert not {one.policy for one in found} & set(asked)
    paid = scored(again.folder)
    assert again.result.search.warm_start == len(found)
    assert len(paid) < 6
