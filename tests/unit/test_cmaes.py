"""CMA-ES goes on from the trials, as Optuna's own does from its state; nothing stored is run."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import create_trial

from autoprune.agent.samplers.cmaes import CmaEs

Direction = Literal["minimize", "maximize"]
SPACE: dict[str, BaseDistribution] = {name: FloatDistribution(-5.0, 5.0) for name in "abcd"}

pytestmark = pytest.mark.usefixtures("quiet_optuna")


def theirs(seed: int) -> CmaEsSampler:
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


def searched(
    make: Callable[[int], CmaEsSampler], trials: int, direction: Direction = "minimize"
) -> optuna.Study:
    """Return a study of which each trial has a sampler of its own, as after a resume."""
    study = optuna.create_study(direction=direction)
    sign = 1 if direction == "minimize" else -1
    for seed in range(trials):
        study.sampler = made(make, seed)
        trial = study.ask(SPACE)
        study.tell(trial, sign * sum((value - 1) ** 2 for value in trial.params.values()))
    return study


def made(make: Callable[[int], CmaEsSampler], seed: int) -> CmaEsSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return make(seed)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_its_state_is_the_one_that_optuna_keeps(direction: Direction) -> None:
    study = searched(theirs, 60, direction)
    trials = study.trials
    kept: Any = made(theirs, 0)._restore_optimizer(trials)
    sampler, direction_of = made(CmaEs, 0), StudyDirection[direction.upper()]
    assert sampler._restore_optimizer(trials) is None
    found: Any = sampler._init_optimizer(
        _SearchSpaceTransform(SPACE, transform_0_1=True), direction_of
    )
    assert found.generation == kept.generation > 4
    for name in ("_mean", "_sigma", "_C", "_pc", "_p_sigma"):
        np.testing.assert_allclose(getattr(found, name), getattr(kept, name), rtol=1e-9)


def test_it_finds_the_optimum_whatever_process_asks() -> None:
    study = searched(CmaEs, 150)
    assert study.best_value < 0.2
    generations = {trial.system_attrs.get("cma:generation") for trial in study.trials}
    assert generations == {None, *range(max(g for g in generations if g is not None) + 1)}
    assert not any("optimizer" in name for t in study.trials for name in t.system_attrs)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_place_of_its_state_is_run(tmp_path: Path) -> None:
    study, mark = searched(CmaEs, 30), tmp_path / "was run"
    state = {"cma:optimizer:0": pickle.dumps(Hostile(mark)).hex()}
    params = dict.fromkeys(SPACE, 0.0)
    study.add_trial(
        create_trial(params=params, distributions=SPACE, value=0.0, system_attrs=state)
    )
    study.ask(SPACE)
    assert not mark.exists()
    study.sampler = made(theirs, 0)
    study.ask(SPACE)
    assert mark.exists(), "the state would have been run"
