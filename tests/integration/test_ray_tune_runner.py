"""Searches whose policies are trials of a real Ray Tune; Ray listens where nothing reaches it."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.housing.workspace import STUDY
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url

HERE = Path(__file__).parent
TRIALS = 8
Run = Callable[..., str]
_STATES = {"scored": TrialState.COMPLETE, "stopped": TrialState.PRUNED}


def told(out: Path) -> list[FrozenTrial]:
    """Return the trials of a run that ended by themselves; see that no other is left running."""
    study = optuna.load_study(study_name=STUDY, storage=sqlite_url(out / "autoprune.db"))
    assert all(trial.state.is_finished() for trial in study.trials)
    return [trial for trial in study.trials if trial.user_attrs["outcome"] != "abandoned"]


def checked(out: Path, limits: list[str], stages: int = 3) -> list[FrozenTrial]:
    """See that each trial is told as what became of it, once; return those told as stopped."""
    trials, stopped = told(out), []
    assert len(trials) == TRIALS
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == TRIALS
    for trial in trials:
        outcome, reached = trial.user_attrs["outcome"], len(trial.intermediate_values)
        assert trial.state == _STATES[outcome.partition(":")[0]], outcome
        assert (trial.state == TrialState.COMPLETE) == (reached == stages)
        assert sorted(trial.constraints) == limits
        assert max(trial.constraints.values()) <= 0
        if trial.state == TrialState.PRUNED:
            stopped.append(trial)
            assert outcome.endswith(f"after {reached} of {stages} stages")
    with Database.open(sqlite_url(out / "autoprune.db")) as database:
        run = database.find_run(STUDY)
        assert run is not None
        made = database.evaluations(run.id)
    scored = [one for one in made if one.outcome.partition(":")[0] in _STATES]
    assert set(Counter(one.policy.fingerprint for one in scored).values()) == {1}
    assert len(scored) == TRIALS
    assert all(one.sample_forwards > 0 for one in scored), "what was stopped cost something too"
    return stopped


def searched(run_ray: Run, project: Path, kill_at: int = 0, **scheduler: Any) -> dict[str, Any]:
    """Search, and see that all is told; return what came out, and which trials were stopped."""
    shown = run_ray(HERE / "ray_tune_search.py", project, json.dumps(scheduler), str(kill_at))
    found: dict[str, Any] = json.loads(shown.splitlines()[-1])
    stopped = checked(project / "tune", ["macs", "params"])
    assert found["evaluations"] == TRIALS
    assert found["stopped"] == len(stopped)
    assert found["share"] <= 0.5
    assert all(
        f"early stop, Ray Tune's {scheduler['name']} after" in trial.user_attrs["outcome"]
        for trial in stopped
    )
    return found


def test_trials_keep_the_contract_of_workers(run_ray: Run) -> None:
    shown = run_ray("-m", "pytest", "-q", "-W", "ignore", HERE / "ray_tune_workers.py")
    assert " passed" in shown.splitlines()[-1]


def test_what_asha_stops_is_told_as_stopped(run_ray: Run, project: Path) -> None:
    found = searched(run_ray, project, name="asha", reduction_factor=2)
    assert 0 < found["stopped"] < TRIALS


def test_hyperband_lets_trials_rest_and_outlives_a_process(run_ray: Run, project: Path) -> None:
    found = searched(run_ray, project, kill_at=4, name="hyperband", reduction_factor=3)
    assert found["killed"] == 1
    assert 0 < found["stopped"] < TRIALS


def test_a_search_whose_driver_is_killed_goes_on(run_ray: Run, project: Path) -> None:
    found = json.loads(run_ray(HERE / "ray_tune_killed.py", project).splitlines()[-1])
    assert found["left"] == 0, "no process of a trial outlives its search"
    checked(project / "run", ["macs"])
    ended = [trial.params for trial in told(project / "run")]
    assert found["underway"]
    assert all(params in ended for params in found["underway"]), "what was begun is scored"


def test_finalists_are_trained_as_a_population(run_ray: Run, project: Path) -> None:
    found = json.loads(run_ray(HERE / "ray_tune_population.py", project).splitlines()[-1])
    assert found["share"] <= 0.5
    assert not list((project / "storage").iterdir()), "nothing goes on from what lay there"
    with Database.open(sqlite_url(project / "population" / "autoprune.db")) as database:
        run = database.find_run(STUDY)
        assert run is not None
        made = database.evaluations(run.id)
    finalists = [one for one in made if one.outcome.split(":")[0] in ("recovered", "outrun")]
    assert len(finalists) == 3
    assert all(one.sample_forwards > 0 for one in finalists)
    (winner,) = (one for one in finalists if one.outcome == "recovered")
    assert winner.weights is not None
    assert "-population-" in winner.weights
    assert [stage.steps for stage in winner.stages] == [6, 12, 18, 24]
    spent = sum(one.sample_forwards for one in made)
    assert found["forwards"] >= spent
