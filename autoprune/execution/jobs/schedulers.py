"""The schedulers behind one interface: chosen by the runner's kind."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import ConfigError
from autoprune.execution.jobs.files import JobFile
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.kubectl import apply_words, kubernetes_status, submit_kubernetes
from autoprune.execution.jobs.kubernetes import kubernetes_files
from autoprune.execution.jobs.ray_submission import ray_files, ray_status, submit_ray
from autoprune.execution.jobs.slurm import slurm_files
from autoprune.execution.jobs.slurm_queue import ADD, SUBMIT, slurm_status, submit_slurm
from autoprune.execution.jobs.status import JobStatus, Submitted
from autoprune.execution.runners import JobRunner
from autoprune.execution.runners.kubernetes import KubernetesRunner
from autoprune.execution.runners.ray_job import RayJobRunner
from autoprune.execution.runners.slurm import SlurmRunner


@dataclass(frozen=True, slots=True)
class Place:
    """Where job files are made, and what is to come of them.

    Args:
        folder: Folder that the command runs in, absolute.
        out: Folder for job files, or None.
        install: Whether a schedule is written into the user's ``scrontab``.
        resubmit: Words of the command that submits the job again.
    """

    folder: Path
    out: Path | None = None
    install: bool = False
    resubmit: tuple[str, ...] = ()


class Scheduler(ABC):
    """What starts jobs.

    Methods raise `ConfigError` for what was given and cannot be used, and `InfrastructureError`
    if the scheduler fails or does not answer.
    """

    @abstractmethod
    def files(self, job: Job, place: Place) -> tuple[JobFile, ...]:
        """Return the job's files; nothing is written or asked."""

    @abstractmethod
    def words(self, job: Job) -> tuple[str, ...]:
        """Return the command that `submit` stands for, as a person would give it."""

    @abstractmethod
    def submit(self, job: Job, place: Place) -> Submitted:
        """Hand the job to the scheduler."""

    @abstractmethod
    def status(self, name: str) -> list[JobStatus]:
        """Return what the scheduler knows of a job."""


@dataclass(frozen=True, slots=True)
class Slurm(Scheduler):
    """``sbatch``, ``scrontab``, ``squeue`` and ``sacct``."""

    runner: SlurmRunner

    def files(self, job: Job, place: Place) -> tuple[JobFile, ...]:
        """Return a batch script, and lines of ``scrontab``."""
        return slurm_files(self.runner, job, place.folder, place.out)

    def words(self, job: Job) -> tuple[str, ...]:
        """Return ``sbatch``, or what adds to a ``scrontab`` on a schedule."""
        return SUBMIT if job.schedule is None else ADD

    def submit(self, job: Job, place: Place) -> Submitted:
        """Submit the script, or install its schedule."""
        folder, out, install = place.folder, place.out, place.install
        return submit_slurm(self.runner, job, folder, out, install=install)

    def status(self, name: str) -> list[JobStatus]:
        """Return jobs of the queue and of the last days."""
        return slurm_status(name)


@dataclass(frozen=True, slots=True)
class Kubernetes(Scheduler):
    """``kubectl``."""

    runner: KubernetesRunner

    def files(self, job: Job, place: Place) -> tuple[JobFile, ...]:
        """Return the manifests."""
        return kubernetes_files(self.runner, job)

    def words(self, job: Job) -> tuple[str, ...]:
        """Return ``kubectl apply``."""
        return apply_words(self.runner)

    def submit(self, job: Job, place: Place) -> Submitted:
        """Apply the manifests."""
        return submit_kubernetes(self.runner, job)

    def status(self, name: str) -> list[JobStatus]:
        """Return the objects of the job."""
        return kubernetes_status(self.runner, name)


@dataclass(frozen=True, slots=True)
class Ray(Scheduler):
    """Ray's job submission."""

    runner: RayJobRunner

    def files(self, job: Job, place: Place) -> tuple[JobFile, ...]:
        """Return the request, or a line of ``crontab``."""
        return ray_files(self.runner, job, place.folder, place.resubmit)

    def words(self, job: Job) -> tuple[str, ...]:
        """Return the request as Ray's server takes it."""
        return ("POST", f"{self.runner.address.rstrip('/')}/api/jobs/")

    def submit(self, job: Job, place: Place) -> Submitted:
        """Submit the job under its key."""
        return submit_ray(self.runner, job, place.folder)

    def status(self, name: str) -> list[JobStatus]:
        """Return the jobs that the cluster remembers."""
        return ray_status(self.runner, name)


def scheduler_of(runner: JobRunner) -> Scheduler:
    """Return the scheduler that a runner names.

    Raises:
        ConfigError: If there is none for its kind.
    """
    match runner:
        case SlurmRunner():
            return Slurm(runner)
        case KubernetesRunner():
            return Kubernetes(runner)
        case RayJobRunner():
            return Ray(runner)
    raise ConfigError(f"No scheduler starts jobs of the kind {runner.kind!r}.")
