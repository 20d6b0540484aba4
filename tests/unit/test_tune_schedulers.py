"""Schedulers of Ray Tune: found by name or import string, refused before Ray starts."""

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, MedianStoppingRule

from autoprune.core.recovery import Recovery
from autoprune.errors import ConfigError
from autoprune.execution.runners import load_runner
from autoprune.execution.runners.tune import RayTuneRunner
from autoprune.execution.workers.tune_schedulers import make_scheduler


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("asha", ASHAScheduler, {"reduction_factor": 2}),
        ("hyperband", HyperBandScheduler, {}),
        ("median", MedianStoppingRule, {"grace_period": 1}),
        ("ray.tune.schedulers:HyperBandForBOHB", HyperBandScheduler, {"reduction_factor": 2}),
    ],
)
def test_a_scheduler_compares_our_value_over_our_stages(
    name: str, kind: type[Any], options: dict[str, Any]
) -> None:
    made: Any = make_scheduler(name, options, 3)
    assert isinstance(made, kind)
    assert (made._metric, made._time_attr) == ("value", "training_iteration")
    assert {getattr(made, at, 3) for at in ("_max_t", "_max_t_attr")} == {3}
    assert made._mode == "min" if hasattr(made, "_mode") else made._worst == float("inf")


def test_a_scheduler_of_the_users_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from ray.tune.schedulers import FIFOScheduler\nclass Mine(FIFOScheduler): ...\n"
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    assert type(make_scheduler("./mine.py:Mine", {}, 3)).__name__ == "Mine"


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (
            "{name: ahsa}",
            r"Unknown scheduler 'ahsa'. Did you mean 'asha'\? Known: .*\. A scheduler of your",
        ),
        (
            "{name: asha, grace: 1}",
            r"no option 'grace' .* Known: .*grace_period, reduction",
        ),
        ("{name: asha, zzz: 1}", r"no option 'zzz' that can be set\. Known: [^:]*$"),
        ("{name: asha, max_t: 9}", r"no option 'max_t' that can be set \(autoprune sets it\)"),
        ("{name: asha, reduction_factor: 1}", r"cannot be made with reduction_factor=1 .*valid"),
        ("{name: asha, grace_period: 4}", r"for 2 stages: grace_period must be <= max_t!"),
        ("{name: asha, grace_period: often}", r"cannot be made with grace_period='often'"),
        ("{name: 'ray.tune.schedulers:PB2'}", r"has no 'PB2'|changes what a trial was given"),
        (
            "{name: 'ray.tune.schedulers:PopulationBasedTraining'}",
            r"changes what a trial was given.*asha, hyperband, median",
        ),
        ("{name: 'pathlib:Path'}", r"'pathlib:Path' is no class of ray.tune's TrialScheduler"),
        ("{name: 'nowhere:Mine'}", r"cannot import 'nowhere'"),
        ("{grace_period: 1}", r"'scheduler' must be a name, or a mapping with a 'name'"),
    ],
)
def test_a_wrong_scheduler_is_refused_before_ray_starts(
    tmp_path: Path, scheduler: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(f"kind: ray-tune\nscheduler: {scheduler}\n")
    with pytest.raises(ConfigError, match=message):
        load_runner("file:mine.yaml", tmp_path).check(Recovery())
    if "max_t!" not in message:  # which only a search knows
        with (
            pytest.raises(ConfigError, match=message),
            load_runner("file:mine.yaml", tmp_path).applied(),
        ):
            pass
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("recovery", "own", "needs"),
    [
        (Recovery(finalists=1), False, r"recovery.finalists of 2 or more: finalists are"),
        (Recovery(schedule="progressive", patience=2), False, "one-shot and recovery.patience: 0"),
        (Recovery(), True, r"own training of finalists \(no 'recover'\)"),
    ],
)
def test_what_cannot_be_a_population_is_refused(recovery: Recovery, own: bool, needs: str) -> None:
    runner = RayTuneRunner(recovery_scheduler="pbt")
    runner.check(Recovery())
    with pytest.raises(ConfigError, match=f"recovery_scheduler: pbt needs .*{needs}"):
        runner.check(recovery, own_training=own)
    RayTuneRunner().check(recovery, own_training=own)


def test_scores_without_stages_and_rays_client_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"recovery.stages has one, the end.*kind 'ray'"):
        RayTuneRunner().check(Recovery(stages=((1, 1),)))
    with pytest.raises(ConfigError, match=r"cannot go through Ray's client \(ray://host:10001\)"):
        RayTuneRunner(address="ray://host:10001").check()
    assert not ray.is_initialized()
