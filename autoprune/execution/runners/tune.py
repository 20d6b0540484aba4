"""Ray Tune on a Ray cluster: one of its schedulers decides which scores come to their end."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from autoprune.core.population import Populate
from autoprune.core.recovery import Recovery
from autoprune.core.staged import StagedWork
from autoprune.core.workers import Hire, Workers
from autoprune.errors import ConfigError
from autoprune.execution.runners.cluster import ClusterRunner

R = TypeVar("R")
_FEWEST = 2  # stages, so that there is one to be stopped at
_MANY = 99  # stages, where nobody knows how many there will be


def _scheduler(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        return {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ValueError(
            "'scheduler' must be a name, or a mapping with a 'name' and its options, like "
            f"{{name: asha, reduction_factor: 2}}. Got {given!r}."
        )
    return {str(key): value for key, value in given.items()}


class RayTuneRunner(ClusterRunner):
    """Trials of Ray Tune score policies, stage by stage.

    Args:
        kind: ``ray-tune``.
        scheduler: What stops trials: ``asha``, ``hyperband``, ``median`` or an import string
            ``module:Class``, under ``name``, and its options.
        storage: Where trials that a scheduler lets rest are kept: a folder that all nodes see, or
            a URI like ``s3://...``; None for a folder of this machine.
        recovery_scheduler: ``pbt`` trains finalists together as trials too, by population based
            training of the learning rate; None one after the other, in this process.
    """

    kind: Literal["ray-tune"] = "ray-tune"
    scheduler: Annotated[dict[str, Any], BeforeValidator(_scheduler)] = Field(
        default_factory=lambda: {"name": "asha", "reduction_factor": 2}
    )
    storage: str | None = None
    recovery_scheduler: Literal["pbt"] | None = None

    def check(self, recovery: Recovery | None = None, *, own_training: bool = False) -> None:
        """Make the scheduler, as a search would.

        Raises:
            ConfigError: If it cannot be made, scores have no stages to be stopped at, or
                finalists cannot be trained as a population.
        """
        if (self.address or "").startswith("ray://"):
            raise ConfigError(
                f"A runner of kind {self.kind!r} cannot go through Ray's client "
                f"({self.address}): Ray Tune would run elsewhere. Start the search on a machine "
                "of the cluster with the address 'auto' or HOST:PORT, or use the kind 'ray'."
            )
        stages = None if recovery is None else recovery.looks
        if stages is not None and stages < _FEWEST:
            raise ConfigError(
                f"A runner of kind {self.kind!r} stops scores at their stages, and "
                "recovery.stages has one, the end. Give it more, or use the kind 'ray'."
            )
        try:
            from autoprune.execution.workers.tune_schedulers import make_scheduler
        except ImportError:
            return  # `applied` says so
        make_scheduler(self._name, self._options, stages or _MANY)
        if self.recovery_scheduler and recovery is not None:
            _check_population(recovery, own_training)

    def populate(self) -> Populate | None:
        """Return what trains finalists as a population, if that is asked for."""
        if self.recovery_scheduler is None:
            return None
        from autoprune.execution.workers.tune_population import tune_population

        return tune_population(self.needs, self.threads, self.storage)

    def hire(self, count: int) -> Hire:
        """Return what starts Ray Tune for work in stages, actors for any other.

        Raises:
            ConfigError: If the cluster has several nodes, and what rests is kept on one of them.
        """
        self._check_storage()
        tuned, actors = self.tuned(count), self.actors(count)

        def hire(work: Callable[[Any], R]) -> AbstractContextManager[Workers[Any, R]]:
            return (tuned if isinstance(work, StagedWork) else actors)(work)

        return hire

    def tuned(self, count: int) -> Hire:
        """Return what starts Ray Tune with so many trials at a time, whatever the work."""
        from autoprune.execution.workers.tune import tune_workers
        from autoprune.execution.workers.tune_schedulers import make_scheduler

        def scheduler(stages: int) -> Any:
            return make_scheduler(self._name, self._options, stages)

        more = (scheduler, self._name, self.storage)
        return tune_workers(count, self.needs, self.threads, *more)

    def _check_storage(self) -> None:
        import ray

        nodes = sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]
        rests = self._name == "hyperband" or self.recovery_scheduler is not None
        if nodes > 1 and rests and self.storage is None:
            raise ConfigError(
                f"The cluster has {nodes} nodes, and {self.recovery_scheduler or self._name} "
                "moves trials between them. Name a folder that all of them see, or a URI, as the "
                "runner's 'storage'."
            )

    @property
    def _name(self) -> str:
        return str(self.scheduler["name"])

    @property
    def _options(self) -> dict[str, Any]:
        return {key: value for key, value in self.scheduler.items() if key != "name"}


def _check_population(recovery: Recovery, own_training: bool) -> None:
    lacking = {
        "recovery.finalists of 2 or more": recovery.finalists_if(halved=False) < _FEWEST,
        "recovery.schedule: one-shot": recovery.schedule != "one-shot",
        "recovery.patience: 0": recovery.patience > 0,
        "autoprune's own training of finalists (no 'recover')": own_training,
    }
    wanted = [what for what, lacks in lacking.items() if lacks]
    if wanted:
        raise ConfigError(
            f"recovery_scheduler: pbt needs {' and '.join(wanted)}: finalists are trained in "
            "stages, and go on from each other's weights. Change that, or leave the key out."
        )
