"""A population on Ray Tune: trials that take over what better ones have."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining

from autoprune.core.population import Member, PacedCourse, PacedWork, Populate
from autoprune.errors import CandidateError
from autoprune.execution.workers.carried import packed
from autoprune.execution.workers.reasons import blaming_ray
from autoprune.execution.workers.tune import let_idle_ones_go
from autoprune.execution.workers.tune_experiment import place, tuner
from autoprune.execution.workers.tune_trial import FOUND, JOB, VALUE, JobTrial, Parcel

R = TypeVar("R")
_NUMBER, _PACE, _STATE = "number", "pace", "state.pkl"
_PACES = (1 / 8, 4.0)  # lowest and highest, in learning rates of the schedule
_QUANTILE = 0.34  # share of the population that takes over, and that is taken over
_FAILURES = 2  # processes that a member may cost; it goes on from its last checkpoint


def tune_population(options: Mapping[str, Any], threads: int, storage: str | None) -> Populate:
    """Return what trains a population on the cluster that this process is connected to.

    Args:
        options: What each member needs of the cluster, by Ray's names.
        threads: CPU threads of PyTorch in each.
        storage: Where checkpoints are kept, as all nodes see it; None for a folder of this
            machine, for a while.
    """

    def populate(work: PacedWork[Any, R], jobs: Sequence[Any]) -> Sequence[Member[R]]:
        let_idle_ones_go()
        reports = _Reports()
        with place(storage) as where:
            experiment = tuner(
                PacedTrial,
                {"content": packed(work), "threads": threads},
                options,
                where,
                space={
                    _PACE: 1.0,
                    JOB: tune.grid_search([Parcel(cloudpickle.dumps(job)) for job in jobs]),
                },
                choice={"scheduler": _scheduler()},
                run={
                    "callbacks": [reports],
                    "failure_config": tune.FailureConfig(max_failures=_FAILURES),
                    "checkpoint_config": tune.CheckpointConfig(checkpoint_at_end=True),
                },
            )
            with blaming_ray():
                grid = experiment.fit()
            return [reports.member(grid[at]) for at in range(len(jobs))]

    return populate


def _scheduler() -> PopulationBasedTraining:
    return PopulationBasedTraining(
        time_attr="training_iteration",
        metric=VALUE,
        mode="min",
        perturbation_interval=1,
        hyperparam_mutations={_PACE: tune.loguniform(*_PACES)},
        quantile_fraction=_QUANTILE,
        log_config=False,
        synch=True,  # trials are compared after as many steps
    )


class PacedTrial(JobTrial):
    """A member of a population; its configuration holds a pace as well, and may change."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another job, or the same at another pace."""
        self._pace = float(new_config[_PACE])
        return super().reset_config(new_config)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write all that the job needs to go on."""
        if self._course is not None:  # or it could not begin
            state = cloudpickle.dumps(self._course.state_dict())
            (Path(checkpoint_dir) / _STATE).write_bytes(state)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from what was saved, of this job or of the one that is taken over."""
        self._course = self._begun(cloudpickle.loads((Path(checkpoint) / _STATE).read_bytes()))

    def _begun(self, state: dict[str, Any] | None) -> PacedCourse[Any]:
        course: PacedCourse[Any] = self._work.begin(self._job, state)
        course.set_pace(self._pace)
        return course


class _Reports(tune.Callback):
    """Keeps what trials report."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[Any, BaseException | None]]] = defaultdict(list)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._found[trial.trial_id].append(result.pop(FOUND))

    def member(self, ended: tune.Result) -> Member[Any]:
        """Return where a trial ended.

        Raises:
            InputError: If it is not the member's fault, and the user can mend it.
        """
        found = self._found[(ended.metrics or {}).get("trial_id", "")]
        results = tuple(result for result, raised in found if raised is None)
        for _, raised in found:
            if raised is not None and not isinstance(raised, CandidateError):
                raise raised
        failed = len(results) < len(found) or not results
        if failed or ended.error is not None or ended.checkpoint is None:
            return Member(results, None)
        with ended.checkpoint.as_directory() as folder:
            state = cloudpickle.loads((Path(folder) / _STATE).read_bytes())
        return Member(results, state)
