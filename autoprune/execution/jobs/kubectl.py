"""A cluster of Kubernetes: apply a job's manifests, ask what became of them."""

import json
from typing import Any

from autoprune.errors import InfrastructureError
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.kubernetes import kubernetes_files
from autoprune.execution.jobs.pods import selector
from autoprune.execution.jobs.status import JobStatus, Submitted, again
from autoprune.execution.jobs.tools import run_tool
from autoprune.execution.runners.kubernetes import KubernetesRunner

_KINDS = ("cronjobs.batch", "jobs.batch")
_RAY = "rayjobs.ray.io"


def apply_words(runner: KubernetesRunner) -> tuple[str, ...]:
    """Return the words that apply manifests from standard input."""
    options = ("--server-side", "--field-manager=autoprune", "--filename=-")
    return ("kubectl", "apply", *options, *_namespace(runner))


def reach(runner: KubernetesRunner) -> None:
    """Ask the cluster whether it answers, and takes jobs of this user.

    Raises:
        ConfigError: If ``kubectl`` is missing.
        InfrastructureError: If the cluster does not answer, or takes none.
    """
    words = ("kubectl", "auth", "can-i", "create", "jobs.batch", *_namespace(runner))
    try:
        run_tool(words)
    except InfrastructureError as err:
        raise InfrastructureError(
            f"The cluster of kubectl's context does not answer, or takes no jobs of yours: {err} "
            f"Try '{' '.join(words)}', and 'kubectl config get-contexts'."
        ) from None


def submit_kubernetes(runner: KubernetesRunner, job: Job) -> Submitted:
    """Apply the job's manifests, unless it runs or is done; one that failed is made anew.

    On a schedule nothing is started here: what is there is brought to what the manifests say.

    Raises:
        ConfigError: If something given cannot be used, or ``kubectl`` is missing.
        InfrastructureError: If the cluster refuses.
    """
    text = kubernetes_files(runner, job)[0].text
    there = [] if job.schedule is not None else kubernetes_status(runner, job.name)
    own = [one for one in there if one.id == job.name and one.kind in ("Job", "RayJob")]
    if own and own[0].state != "Failed":
        told = f"{job.name} is there ({own[0].state}); nothing was applied."
        if own[0].state == "Complete":
            words = ("kubectl", "delete", f"{own[0].kind.lower()}/{job.name}", *_namespace(runner))
            told = f"{job.name} is done already; nothing was applied. {again(' '.join(words))}"
        return Submitted(job.name, told, new=False)
    if own:
        failed = [f"{one.kind.lower()}/{one.id}" for one in there if one.kind != "CronJob"]
        run_tool(
            ("kubectl", "delete", *failed, "--wait", "--ignore-not-found", *_namespace(runner))
        )
    return Submitted(job.name, run_tool(apply_words(runner), text).strip())


def kubernetes_status(runner: KubernetesRunner, name: str) -> list[JobStatus]:
    """Return what there is of a job in the cluster.

    Raises:
        ConfigError: If ``kubectl`` is missing.
        InfrastructureError: If the cluster does not answer.
    """
    kinds = (*_KINDS, _RAY) if runner.workload == "rayjob" else _KINDS
    words = ("kubectl", "get", ",".join(kinds), f"--selector={selector(name)}", "--output=json")
    text = run_tool((*words, *_namespace(runner)))
    try:
        return [_of(item) for item in json.loads(text)["items"]]
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise InfrastructureError(f"'kubectl' gave no list of jobs: {text[:200]!r}.") from err


def _of(item: dict[str, Any]) -> JobStatus:
    metadata, status = item["metadata"], item.get("status") or {}
    state, told = _STATES.get(item["kind"], _job)(item, status)
    since = status.get("startTime") or metadata.get("creationTimestamp", "")
    return JobStatus(metadata["name"], item["kind"], state, since, told)


def _job(_: dict[str, Any], status: dict[str, Any]) -> tuple[str, str]:
    """Return the condition that a Job ended with, else how many of its pods are active."""
    for condition in status.get("conditions") or ():
        ended = condition["type"] in ("Complete", "Failed", "Suspended")
        if ended and condition["status"] == "True":
            return condition["type"], condition.get("message", "")
    active = status.get("active", 0)
    failed = status.get("failed", 0)
    return ("Running" if active else "Pending"), f"{failed} failed pods" if failed else ""


def _cron_job(item: dict[str, Any], status: dict[str, Any]) -> tuple[str, str]:
    suspended = item["spec"].get("suspend")
    last = status.get("lastScheduleTime", "never")
    state = "Suspended" if suspended else "Active" if status.get("active") else "Waiting"
    return state, f"{item['spec']['schedule']}, last fired: {last}"


def _ray_job(_: dict[str, Any], status: dict[str, Any]) -> tuple[str, str]:
    told = " ".join(filter(None, (status.get("reason"), status.get("message"))))
    state = status.get("jobDeploymentStatus") or "New"
    return state, " ".join(filter(None, (status.get("jobStatus"), told)))


_STATES = {"Job": _job, "CronJob": _cron_job, "RayJob": _ray_job}


def _namespace(runner: KubernetesRunner) -> tuple[str, ...]:
    return () if runner.namespace is None else (f"--namespace={runner.namespace}",)
