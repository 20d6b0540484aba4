"""Whether a runner can be used here: what is missing, and how to get it."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial

from autoprune.core.cores import usable_cores
from autoprune.errors import ConfigError, InfrastructureError
from autoprune.execution.jobs import kubectl
from autoprune.execution.runners.base import RunnerFile
from autoprune.execution.runners.cluster import ClusterRunner
from autoprune.execution.runners.kubernetes import KubernetesRunner
from autoprune.execution.runners.local import LocalRunner
from autoprune.execution.runners.ray_job import RayJobRunner
from autoprune.execution.runners.slurm import SlurmRunner

_ELSEWHERE = (
    "Run this where it is, or write the files here with autoprune jobs render and take them there."
)


def missing(runner: RunnerFile) -> list[str]:
    """Return what a runner lacks on this machine, a sentence or two each; nothing is started.

    The cluster of an address is asked whether it answers, and has room for one worker. One that is
    started here must have CPUs and GPUs for one.

    Args:
        runner: The runner, as its file says.
    """
    match runner:
        case LocalRunner():
            return list(_local(runner))
        case ClusterRunner():
            return list(_ray(runner))
        case SlurmRunner():
            return list(_tools("sbatch", "squeue", "sacct", place="the login node of the cluster"))
        case KubernetesRunner():
            return list(_kubernetes(runner))
        case RayJobRunner():
            return list(_ray_job(runner))
    raise ConfigError(f"Nobody knows what a runner of the kind {runner.kind!r} needs.")


def _local(runner: LocalRunner) -> Iterator[str]:
    yield from _device(runner.device)
    wanted = 1 if runner.workers == "auto" else runner.workers
    threads = 1 if runner.threads == "auto" else runner.threads
    if wanted * threads > usable_cores():
        yield (
            f"{wanted} workers with {threads} threads each need {wanted * threads} cores, and "
            f"{usable_cores()} are there. Lower 'workers' or 'threads', or set them to auto."
        )


def _ray(runner: ClusterRunner) -> Iterator[str]:
    yield from _device(runner.device)
    try:
        import ray
    except ImportError:
        yield "Ray is not installed. Run: pip install 'autoprune[ray]'."
        return
    try:
        runner.check()
    except ConfigError as err:
        yield str(err)
        return
    if runner.address is None:
        yield from runner.lacking(runner.started)
        return
    try:
        with runner.applied():
            there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    except (ConfigError, InfrastructureError) as err:
        yield str(err)
        return
    yield from runner.lacking(there)


def _kubernetes(runner: KubernetesRunner) -> Iterator[str]:
    lacking = list(_tools("kubectl", place="a machine with kubectl and a context"))
    yield from lacking or _reached(partial(kubectl.reach, runner))


def _ray_job(runner: RayJobRunner) -> Iterator[str]:
    from autoprune.execution.jobs.ray_submission import reach

    yield from _reached(partial(reach, runner))


def _reached(reach: Callable[[], None]) -> Iterator[str]:
    try:
        reach()
    except (ConfigError, InfrastructureError) as err:
        yield str(err)


def _device(device: str) -> Iterator[str]:
    try:
        LocalRunner(device=device).resolve_device()
    except ConfigError as err:
        yield str(err)


def _tools(*names: str, place: str) -> Iterator[str]:
    lacking = [name for name in names if shutil.which(name) is None]
    if lacking:
        yield f"Not found here: {', '.join(lacking)}. They are on {place}. {_ELSEWHERE}"
