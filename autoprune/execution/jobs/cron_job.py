"""CronJobs of Kubernetes, as data."""

from math import ceil
from typing import Any

from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.pods import labels
from autoprune.execution.runners.kubernetes import KubernetesRunner


def cron_job(
    runner: KubernetesRunner, job: Job, name: str, part: str, spec: dict[str, Any]
) -> dict[str, Any]:
    """Return the CronJob that makes a Job of each firing, one at a time."""
    zone = {} if runner.time_zone is None else {"timeZone": runner.time_zone}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": labels(job, part)},
        "spec": {
            "schedule": str(job.schedule),
            **zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": ceil(runner.start_within),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels(job, part)}, "spec": spec},
        },
    }
