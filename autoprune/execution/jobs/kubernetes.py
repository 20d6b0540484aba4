"""Jobs of Kubernetes: manifests as data, written as YAML."""

from math import ceil
from typing import Any

from autoprune.execution.jobs.cron_job import cron_job
from autoprune.execution.jobs.files import JobFile
from autoprune.execution.jobs.job import Job, require_name
from autoprune.execution.jobs.pods import SEARCH, failure_policy, labels, pod
from autoprune.execution.jobs.rayjob import ray_manifests
from autoprune.execution.jobs.yaml_text import as_yaml
from autoprune.execution.runners.kubernetes import KubernetesRunner

NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
LONGEST = 37  # CronJobs add 9 characters, KubeRay takes 47
_AGENT = "agent"
_MARGIN = 1800  # seconds beside each deadline: to get an image, to write the result


def kubernetes_files(runner: KubernetesRunner, job: Job) -> tuple[JobFile, ...]:
    """Return one YAML file with every manifest of a job.

    Raises:
        ConfigError: If the job's name is no DNS label or too long.
    """
    return (JobFile(f"{job.name}.yaml", as_yaml(*manifests(runner, job))),)


def manifests(runner: KubernetesRunner, job: Job) -> list[dict[str, Any]]:
    """Return the manifests of a job as plain data.

    Raises:
        ConfigError: If the job's name is no DNS label or too long.
    """
    require_name(
        job.name,
        NAME,
        LONGEST,
        "a DNS label (lower case letters, digits and '-', no '-' at the ends)",
    )
    if runner.workload == "rayjob":
        found = ray_manifests(runner, job)
    else:
        found = [_fired(runner, job, job.name, SEARCH, _search(runner, job))]
        if runner.agents:
            agents = _agents(runner, job)
            found.append(_fired(runner, job, f"{job.name}-agents", _AGENT, agents))
    if runner.namespace is not None:
        for one in found:
            one["metadata"]["namespace"] = runner.namespace
    return found


def _fired(
    runner: KubernetesRunner, job: Job, name: str, part: str, spec: dict[str, Any]
) -> dict[str, Any]:
    if job.schedule is not None:
        return cron_job(runner, job, name, part, spec)
    metadata = {"name": name, "labels": labels(job, part)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _search(runner: KubernetesRunner, job: Job) -> dict[str, Any]:
    return {
        "backoffLimit": runner.attempts - 1,
        "activeDeadlineSeconds": _longest(runner, job),
        "ttlSecondsAfterFinished": ceil(runner.keep),
        "podFailurePolicy": failure_policy(job),
        "template": pod(runner, job, part=SEARCH, command=job.command),
    }


def _agents(runner: KubernetesRunner, job: Job) -> dict[str, Any]:
    """Return a Job of agents: those that come before the search has begun fail and come again."""
    return {
        "parallelism": runner.agents,
        "backoffLimit": runner.agents * (runner.attempts + 3),
        "activeDeadlineSeconds": _longest(runner, job),
        "ttlSecondsAfterFinished": ceil(runner.keep),
        "template": pod(runner, job, part=_AGENT, command=job.agent),
    }


def _longest(runner: KubernetesRunner, job: Job) -> int:
    """Return the seconds after which a Job is ended: those of one start on a schedule."""
    starts = runner.attempts if job.schedule is None else 1
    return (ceil(job.seconds) + _MARGIN) * starts
