"""CMA-ES goes on from its state in the database, and runs nothing that is there in its place."""

import pickle
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import create_trial

from autoprune.agent.samplers.cmaes import CmaEs
from autoprune.errors import InfrastructureError

SPACE: dict[str, BaseDistribution] = {name: FloatDistribution(-5.0, 5.0) for name in "abcd"}


def searched(sampler: type[CmaEsSampler], trials: int) -> optuna.Study:
    """Return a study of which each trial has a sampler of its own, as after a resume."""
    study = optuna.create_study()
    for seed in range(trials):
        study.sampler = made(sampler, seed)
        trial = study.ask(SPACE)
        study.tell(trial, sum(value**2 for value in trial.params.values()))
    return study


def made(sampler: type[CmaEsSampler], seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return sampler(seed=seed, warn_independent_sampling=False)


def states(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if "cma:optimizer:0" in trial.system_attrs]


def test_it_proposes_what_that_of_optuna_proposes() -> None:
    ours, theirs = (searched(one, 40) for one in (CmaEs, CmaEsSampler))
    assert len(states(ours)) > 3
    assert [trial.params for trial in ours.trials] == [trial.params for trial in theirs.trials]


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
    with pytest.raises(InfrastructureError, match=r"asks for \S+, which .* It was not run"):
        study.ask(SPACE)
    assert not mark.exists()
    study.sampler = made(CmaEsSampler, 0)
    study.ask(SPACE)
    assert mark.exists(), "the state would have been run"
