"""What the study is told of trials that Ray Tune stopped, without Ray running."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.errors import ConfigError
from autoprune.ray_tune import StagedOptunaSearch
from autoprune.testing.chains import chain

pytestmark = pytest.mark.usefixtures("quiet_optuna")

SAMPLER_SPACE = chain({"a": range(12, 0, -1), "b": range(16, 0, -2)}, "macs=60%", ("channel.l1",))


def searching(stages: int = 3, seed: int = 0) -> StagedOptunaSearch:
    sampler = BudgetedSampler(SAMPLER_SPACE, seed)
    return StagedOptunaSearch(
        sampler.space, metric="loss", mode="min", sampler=sampler, stages=stages
    )


def result(value: float | None, step: int) -> dict[str, Any]:
    return {"loss": value, "training_iteration": step}


def run(search: StagedOptunaSearch, name: str, *values: float) -> None:
    """Report all values but the last, as Ray Tune does, which ends the trial."""
    search.suggest(name)
    for step, value in enumerate(values, 1):
        last = step == len(values)
        tell = search.on_trial_complete if last else search.on_trial_result
        tell(name, result(value, step))


def told(search: StagedOptunaSearch) -> list[optuna.trial.FrozenTrial]:
    return study_of(search).trials


def study_of(search: StagedOptunaSearch) -> optuna.Study:
    study: Any = search._ot_study
    assert isinstance(study, optuna.Study)
    return study


def test_a_trial_with_fewer_stages_is_told_as_stopped() -> None:
    search = searching()
    run(search, "whole", 3.0, 2.0, 1.0)
    run(search, "stopped", 5.0, 4.0)
    whole, stopped = told(search)
    assert (whole.state, whole.value) == (TrialState.COMPLETE, 1.0)
    assert stopped.state == TrialState.PRUNED
    assert whole.intermediate_values == {1: 3.0, 2: 2.0, 3: 1.0}
    assert stopped.intermediate_values == {1: 5.0, 2: 4.0}


def test_the_last_value_counts_where_a_scheduler_ends_a_trial_that_it_paused() -> None:
    search = searching(stages=2)
    for name, values in (("whole", (3.0, 2.0)), ("stopped", (5.0,))):
        search.suggest(name)
        for step, value in enumerate(values, 1):
            search.on_trial_result(name, result(value, step))
        search.on_trial_complete(name)
    whole, stopped = told(search)
    assert (whole.state, whole.value) == (TrialState.COMPLETE, 2.0)
    assert (stopped.state, stopped.value) == (TrialState.PRUNED, 5.0)


def test_the_sampler_takes_a_stopped_trial_for_what_it_would_have_come_to() -> None:
    search = searching(stages=2)
    for number in range(9):
        run(search, str(number), number + 10.0, float(number))
    run(search, "stopped", 15.5)
    sampler = search._sampler
    assert isinstance(sampler, BudgetedSampler)
    known = sampler._history.read(study_of(search))
    assert known.values[-1] == pytest.approx(5.5)
    assert known.stopped == [9]


def test_failures_and_what_never_reported() -> None:
    search = searching()
    run(search, "nan", 3.0, math.nan)
    search.suggest("error")
    search.on_trial_result("error", result(2.0, 1))
    search.on_trial_complete("error", error=True)
    search.suggest("silent")
    search.on_trial_complete("silent")
    search.suggest("lost")
    search.on_trial_result("lost", result(2.0, 1))
    search.on_trial_complete("lost")
    nan, error, silent, lost = told(search)
    assert nan.state == error.state == silent.state == TrialState.FAIL
    assert lost.state == TrialState.PRUNED
    assert lost.params == silent.params, "what was never scored is proposed again"


def test_a_trial_that_is_restarted_repeats_no_stage_and_ends_once() -> None:
    search = searching()
    search.suggest("a")
    for step, value in ((1, 3.0), (2, 2.0), (1, 9.0), (2, 9.0)):
        search.on_trial_result("a", result(value, step))
    search.on_trial_complete("a", result(1.0, 3))
    search.on_trial_complete("a", result(7.0, 3))
    (trial,) = told(search)
    assert trial.intermediate_values == {1: 3.0, 2: 2.0, 3: 1.0}
    assert trial.value == 1.0


def test_a_trial_that_failed_and_was_restored_since_stays_a_failure() -> None:
    search = searching()
    search.suggest("a")
    search.on_trial_result("a", result(3.0, 1))
    search.on_trial_complete("a", error=True)
    search.on_trial_result("a", result(2.0, 2))
    search.on_trial_complete("a", result(1.0, 3))
    (trial,) = told(search)
    assert trial.state == TrialState.FAIL
    assert trial.intermediate_values == {1: 3.0}


def test_saved_and_restored_it_goes_on(tmp_path: Path) -> None:
    search, whole = searching(), searching()
    for number in range(6):
        for one in (search, whole):
            run(one, str(number), 1.0 * number, 2.0 * number, 3.0 * number)
        search.save(str(tmp_path / "search"))
        search = searching(seed=7)
        search.restore(str(tmp_path / "search"))
    assert search.suggest("next") == whole.suggest("next")


def test_trials_that_run_at_once_get_different_policies() -> None:
    search = searching()
    for number in range(8):
        search.suggest(str(number))
    assert len({tuple(trial.params.items()) for trial in told(search)}) == 8


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stages must be a whole number of at least 1"):
        searching(stages=0)
    sampler = BudgetedSampler(SAMPLER_SPACE, 0)
    with pytest.raises(ConfigError, match=r"by one metric\. Got loss, time"):
        StagedOptunaSearch(sampler.space, metric=["loss", "time"], mode=["min", "min"], stages=2)


def test_without_ray_it_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['ray'] = None; import autoprune.ray_tune"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'autoprune[ray]'" in done.stderr
