"""HyperBand for trials that come one by one, without Ray running."""

from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler

from autoprune.execution.workers.tune_hyperband import HyperBand
from autoprune.execution.workers.tune_schedulers import make_scheduler


@dataclass(eq=False)
class Fake:
    """A trial, as a scheduler sees it."""

    trial_id: str
    status: str = Trial.PENDING
    is_saving: bool = False


@dataclass
class Controller:
    """What Ray Tune does with trials, two at a time as they come."""

    scheduler: Any
    trials: list[Fake] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def begin(self, name: str) -> Fake:
        self.trials.append(Fake(name, Trial.RUNNING))
        self.scheduler.on_trial_add(self, self.trials[-1])
        return self.trials[-1]

    def report(self, trial: Fake, stage: int, value: float, end: int = 3) -> str:
        result = {"training_iteration": stage, "value": value}
        if stage == end:
            trial.status = Trial.TERMINATED
            self.scheduler.on_trial_complete(self, trial, result)
            return "DONE"
        action: str = self.scheduler.on_trial_result(self, trial, result)
        trial.status = {"PAUSE": Trial.PAUSED, "STOP": Trial.TERMINATED}.get(action, trial.status)
        if action == "STOP":
            self.stopped.append(trial.trial_id)
        return action

    def stop_trial(self, trial: Fake) -> None:
        trial.status = Trial.TERMINATED
        self.stopped.append(trial.trial_id)
        self.scheduler.on_trial_remove(self, trial)

    def whole(self, name: str) -> None:
        trial = self.begin(name)
        assert [self.report(trial, at, 1.0) for at in (1, 2, 3)] == ["CONTINUE"] * 2 + ["DONE"]


def controller() -> Controller:
    made = make_scheduler("hyperband", {"reduction_factor": 3}, 3)
    assert isinstance(made, HyperBand)
    found = Controller(made)
    found.whole("a")  # the first bracket has two trials, which come to their end
    found.whole("b")
    return found


def test_trials_of_a_bracket_wait_for_each_other_and_the_best_goes_on() -> None:
    tune = controller()
    first = tune.begin("c")
    assert tune.report(first, 1, 0.3) == "PAUSE", "nobody else is there to be compared with"
    second, third = tune.begin("d"), tune.begin("e")
    assert tune.report(third, 1, 0.5) == "PAUSE"
    assert tune.report(second, 1, 0.4) == "STOP"
    assert sorted(tune.stopped) == ["d", "e"]
    assert tune.scheduler.choose_trial_to_run(tune) is first
    tune.whole("f")  # in a bracket of its own


def test_where_nobody_else_comes_those_that_are_there_are_compared() -> None:
    tune = controller()
    first, second = tune.begin("c"), tune.begin("d")
    assert [tune.report(first, 1, 0.3), tune.report(second, 1, 0.4)] == ["PAUSE", "PAUSE"]
    assert tune.scheduler.choose_trial_to_run(tune) is None
    hungry = iter([True, False])
    tune.scheduler.starving = lambda: next(hungry)
    assert tune.scheduler.choose_trial_to_run(tune) is first
    assert tune.stopped == ["d"]
    first.status = Trial.RUNNING
    assert tune.report(first, 2, 0.2) == "CONTINUE"
    assert tune.report(first, 3, 0.1) == "DONE"


def test_the_last_one_to_be_waited_for_may_die() -> None:
    tune = controller()
    first, second, third = (tune.begin(name) for name in "cde")
    assert [tune.report(first, 1, 0.3), tune.report(second, 1, 0.4)] == ["PAUSE", "PAUSE"]
    third.status = Trial.ERROR
    tune.scheduler.on_trial_error(tune, third)
    assert tune.scheduler.choose_trial_to_run(tune) is first


def test_rays_own_stops_none_of_those_that_come_one_by_one() -> None:
    rays = HyperBandScheduler("training_iteration", "value", "min", 3, 3, False)
    tune = Controller(rays)
    for name in "ab":
        tune.whole(name)
    for name, value in zip("cdefgh", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True):
        trial = tune.begin(name)
        for at in (1, 2, 3):
            if tune.report(trial, at, value) in ("PAUSE", "STOP"):
                break
    assert tune.stopped == [], "ours is not needed any more"
