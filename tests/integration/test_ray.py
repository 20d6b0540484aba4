"""Workers on a real Ray cluster, which is started where nothing reaches it."""

import json
from collections.abc import Callable
from pathlib import Path

import optuna

from autoprune.agent.housing.workspace import STUDY
from autoprune.storage.engine import sqlite_url

HERE = Path(__file__).parent


def test_actors_keep_the_contract_of_workers(run_ray: Callable[..., str]) -> None:
    shown = run_ray("-m", "pytest", "-q", "-W", "ignore", HERE / "ray_workers.py")
    assert " passed" in shown.splitlines()[-1]


def test_a_search_on_ray_outlives_a_worker(run_ray: Callable[..., str], project: Path) -> None:
    found = json.loads(run_ray(HERE / "ray_search.py", project).splitlines()[-1])
    assert found["died"] == ["died-recover-1", "died-search-2"]
    assert found["as one process"]
    assert found["evaluations"] == 8
    assert found["share"] <= 0.5
    study = optuna.load_study(study_name=STUDY, storage=sqlite_url(project / "ray/autoprune.db"))
    outcomes = [trial.user_attrs["outcome"].split(":")[0] for trial in study.trials]
    assert len(outcomes) == 8
    assert set(outcomes) <= {"scored", "stopped"}


def test_what_is_lost_with_a_node_is_done_again(run_ray: Callable[..., str]) -> None:
    found = json.loads(run_ray(HERE / "ray_lost_node.py").splitlines()[-1])
    assert found["lost"] == "lost with its node, and what it had given was not fetched yet"
    assert found["found"] == 400_000


def test_actors_that_are_ended_for_memory_are_lost_and_told(run_ray: Callable[..., str]) -> None:
    found = json.loads(run_ray(HERE / "ray_no_memory.py").splitlines()[-1])
    assert set(found["lost"]) <= {"ended by Ray, for the memory of its node ran out"}
    assert "3 Ray actors in a row could not begin" in found["said"]
    assert "running low on memory" in found["said"]


def test_the_end_of_our_node_is_told_before_ray_ends_the_search(
    run_ray: Callable[..., str],
) -> None:
    found = json.loads(run_ray(HERE / "ray_node_dies.py").splitlines()[-1])
    assert "the raylet, has ended" in found["said"]
    assert "--if-exists resume" in found["said"]
