"""Pods of Kubernetes, as data: what runs a search, and how it is watched."""

from math import ceil
from typing import Any

from autoprune.execution.jobs.job import RESUMABLE, WRONG_INPUT, Job
from autoprune.execution.runners.kubernetes import KubernetesRunner

SEARCH = "search"
_LAUNCH = 600  # seconds until the first heartbeat: imports, model, data
_PERIOD = 30  # seconds between two probes
_PROBE = 20  # seconds that a probe may take


def labels(job: Job, part: str | None = None) -> dict[str, str]:
    """Return the labels of what belongs to a job, or to one part of it."""
    found = {
        "app.kubernetes.io/name": "autoprune",
        "app.kubernetes.io/instance": job.name,
        "app.kubernetes.io/managed-by": "autoprune",
    }
    return found if part is None else found | {"app.kubernetes.io/component": part}


def selector(name: str) -> str:
    """Return the label selector of everything that belongs to a job."""
    return f"app.kubernetes.io/name=autoprune,app.kubernetes.io/instance={name}"


def pod(runner: KubernetesRunner, job: Job, *, part: str, command: tuple[str, ...]) -> Any:
    """Return the template of a pod that runs a command of autoprune and is not restarted."""
    made = container(runner, part) | {"command": [literal(word) for word in command]}
    if part == SEARCH:
        made |= _probes(runner, job)
    spec = {"restartPolicy": "Never", **pod_spec(runner, made)}
    return {"metadata": {"labels": labels(job, part)}, "spec": spec}


def pod_spec(runner: KubernetesRunner, made: dict[str, Any]) -> dict[str, Any]:
    """Return what pods of one container have in common."""
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": ceil(runner.grace),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [made],
    }
    if runner.service_account is not None:
        spec["serviceAccountName"] = runner.service_account
    if runner.volume_claim is not None:
        claim = {"claimName": runner.volume_claim}
        spec["volumes"] = [{"name": "work", "persistentVolumeClaim": claim}]
    return spec


def container(runner: KubernetesRunner, name: str) -> dict[str, Any]:
    """Return a container of the runner's image with its resources, variables and volume."""
    size: dict[str, str] = {"cpu": str(runner.cpus), "memory": runner.memory}
    if runner.gpus:
        size["nvidia.com/gpu"] = str(runner.gpus)
    made: dict[str, Any] = {
        "name": name,
        "image": runner.image,
        "workingDir": runner.workdir,
        "resources": {"requests": dict(size), "limits": dict(size)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if runner.env or runner.secrets:
        made["env"] = variables(runner)
    if runner.volume_claim is not None:
        made["volumeMounts"] = [{"name": "work", "mountPath": runner.workdir}]
    return made


def variables(runner: KubernetesRunner) -> list[dict[str, Any]]:
    """Return environment variables: values that are public, references to those that are not."""
    found: list[dict[str, Any]] = [
        {"name": name, "value": literal(value)} for name, value in runner.env.items()
    ]
    for name, place in runner.secrets.items():
        secret, _, key = place.partition("/")
        reference = {"secretKeyRef": {"name": secret, "key": key}}
        found.append({"name": name, "valueFrom": reference})
    return found


def literal(text: str) -> str:
    """Return what Kubernetes reads as ``text``: it would put variables in place of ``$(NAME)``."""
    return text.replace("$", "$$")


def failure_policy(job: Job) -> dict[str, Any]:
    """Return which failures of the search end its Job, and which use up no attempt.

    Wrong input ends it. On a schedule a deadline ends it as well: the next firing goes on.
    """
    final = [WRONG_INPUT] if job.schedule is None else [WRONG_INPUT, RESUMABLE[0]]
    codes = {"containerName": SEARCH, "operator": "In", "values": final}
    evicted = [{"type": "DisruptionTarget", "status": "True"}]
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": evicted},
            {"action": "FailJob", "onExitCodes": codes},
        ]
    }


def _probes(runner: KubernetesRunner, job: Job) -> dict[str, Any]:
    """Return probes that look at the heartbeat; starting up may take longer."""
    words = (*job.probe, "--max-age", f"{ceil(runner.max_age)}s")
    command = [literal(word) for word in words]
    probe = {"exec": {"command": command}, "periodSeconds": _PERIOD, "timeoutSeconds": _PROBE}
    return {
        "startupProbe": probe | {"failureThreshold": ceil(_LAUNCH / _PERIOD)},
        "livenessProbe": probe | {"failureThreshold": 3},
    }
