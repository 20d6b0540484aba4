"""RayJobs of KubeRay, as data: a Ray cluster for one search, removed when it ends.

KubeRay's own RayCronJob is alpha, so a schedule is a CronJob whose pod creates the RayJob. That
pod has a ServiceAccount that may create, read and change RayJobs in its namespace, no more.
"""

import shlex
from math import ceil
from typing import Any

from autoprune.errors import ConfigError
from autoprune.execution.jobs.cron_job import cron_job
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.pods import container, labels, pod_spec, selector
from autoprune.execution.jobs.templates import render
from autoprune.execution.jobs.yaml_text import as_one
from autoprune.execution.runners.kubernetes import KubernetesRunner

API = "ray.io/v1"
_MARGIN = 1800  # seconds beside the deadline: to start a cluster, and to write the result
_LINGER = 60  # seconds that a cluster stays when its search has ended
_JOB_NAME, _JOB_UID = "NAME-OF-THE-FIRING", "UID-OF-THE-FIRING"
_STATES = '{range .items[*]}{.metadata.name}={.status.jobDeploymentStatus}{"\\n"}{end}'
_FOLDER = "/launch"
_LAUNCH = "launch"


def ray_manifests(runner: KubernetesRunner, job: Job) -> list[dict[str, Any]]:
    """Return a RayJob, or on a schedule what creates one at each firing, and may.

    Raises:
        ConfigError: If there is a schedule, and no namespace to give rights in.
    """
    metadata: dict[str, Any] = {"name": job.name, "labels": labels(job, "search")}
    if job.schedule is None:
        return [_ray_job(runner, job, metadata)]
    if runner.namespace is None:
        raise ConfigError(
            "A RayJob on a schedule is created by a ServiceAccount, whose rights are bound in a "
            "namespace. Set the key 'namespace' in the runner file."
        )
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": _JOB_NAME, "uid": _JOB_UID}
    metadata |= {"name": _JOB_NAME, "ownerReferences": [owner]}
    name = f"{job.name}-{_LAUNCH}"
    made = {"name": name, "labels": labels(job, _LAUNCH)}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(made)},
        *_rights(made, name, runner.namespace),
        _launcher_files(job, made, _ray_job(runner, job, metadata)),
        cron_job(runner, job, job.name, _LAUNCH, _launcher(runner, job, name)),
    ]


def _ray_job(runner: KubernetesRunner, job: Job, metadata: dict[str, Any]) -> dict[str, Any]:
    retries = runner.attempts - 1 if job.schedule is None else 0  # the next firing goes on
    return {
        "apiVersion": API,
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {
            "entrypoint": _entrypoint(runner, job),
            "backoffLimit": retries,
            "activeDeadlineSeconds": ceil(job.seconds) + _MARGIN,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": _LINGER,
            "rayClusterSpec": _cluster(runner),
        },
    }


def _entrypoint(runner: KubernetesRunner, job: Job) -> str:
    """Return one simple command: KubeRay puts it behind ``ray job submit --`` in a script."""
    script = f"cd {shlex.quote(runner.workdir)} && exec {shlex.join(job.command)}"
    return shlex.join(("sh", "-c", script))


def _cluster(runner: KubernetesRunner) -> dict[str, Any]:
    """Return a head, in which the search runs, and workers; Ray asks all of them for a token."""
    found: dict[str, Any] = {
        "rayVersion": runner.ray_version,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"rayStartParams": {}, "template": _node(runner, "ray-head")},
    }
    if runner.agents:
        workers = {
            "groupName": "workers",
            "replicas": runner.agents,
            "minReplicas": runner.agents,
            "maxReplicas": runner.agents,
            "rayStartParams": {},
            "template": _node(runner, "ray-worker"),
        }
        found["workerGroupSpecs"] = [workers]
    return found


def _node(runner: KubernetesRunner, name: str) -> dict[str, Any]:
    return {"spec": pod_spec(runner, container(runner, name))}


def _rights(made: dict[str, Any], name: str, namespace: str) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    verbs = ["create", "get", "list", "patch"]
    rule = {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": verbs}
    head = {"apiVersion": f"{group}/v1"}
    return [
        head | {"kind": "Role", "metadata": dict(made), "rules": [rule]},
        head
        | {
            "kind": "RoleBinding",
            "metadata": dict(made),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]


def _launcher_files(job: Job, made: dict[str, Any], ray_job: dict[str, Any]) -> dict[str, Any]:
    script = render(
        "rayjob.sh.j2",
        selector=selector(job.name),
        columns=f"jsonpath={_STATES}",
        manifest=f"{_FOLDER}/rayjob.yaml",
        job_name=_JOB_NAME,
        job_uid=_JOB_UID,
    )
    data = {"launch.sh": script, "rayjob.yaml": as_one(ray_job)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": dict(made), "data": data}


def _launcher(runner: KubernetesRunner, job: Job, name: str) -> dict[str, Any]:
    """Return the Job that creates the RayJob of a firing, which is deleted along with it."""
    of_job = {"JOB_NAME": "job-name", "JOB_UID": "controller-uid"}
    size = {"cpu": "100m", "memory": "128Mi"}
    made = {
        "name": _LAUNCH,
        "image": runner.kubectl_image,
        "command": ["sh", f"{_FOLDER}/launch.sh"],
        "env": [
            {
                "name": variable,
                "valueFrom": {
                    "fieldRef": {"fieldPath": f"metadata.labels['batch.kubernetes.io/{label}']"}
                },
            }
            for variable, label in of_job.items()
        ],
        "resources": {"requests": dict(size), "limits": dict(size)},
        "volumeMounts": [{"name": _LAUNCH, "mountPath": _FOLDER, "readOnly": True}],
    }
    spec = {
        "restartPolicy": "Never",
        "serviceAccountName": name,
        "containers": [made],
        "volumes": [{"name": _LAUNCH, "configMap": {"name": name}}],
    }
    return {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 600,
        "ttlSecondsAfterFinished": ceil(runner.keep + job.seconds) + _MARGIN,
        "template": {"metadata": {"labels": labels(job, _LAUNCH)}, "spec": spec},
    }
