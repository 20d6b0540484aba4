"""Kubernetes: what a runner file of kind ``kubernetes`` holds."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from autoprune.execution.runners.jobs import (
    Count,
    JobRunner,
    Positive,
    Variables,
    matching,
    seconds,
)

_DNS = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_QUANTITY = r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"


def _references(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, place in given.items():
        if not re.fullmatch(_DNS + r"/[\w.-]+", place):
            raise ValueError(
                f"'secrets.{name}' must be 'SECRET/KEY', the name of a Secret and a key in it, "
                "never the value."
            )
    return given


class KubernetesRunner(JobRunner):
    """Kubernetes: Jobs or RayJobs, and CronJobs that create them.

    Args:
        kind: ``kubernetes``.
        workload: ``job`` for one pod and agents, ``rayjob`` for a Ray cluster of KubeRay.
        image: Container image that holds autoprune and the project.
        namespace: Namespace, or None for that of the context.
        workdir: Folder in the container that paths are relative to.
        volume_claim: PersistentVolumeClaim that is mounted there; without one the run is lost
            with its pod.
        cpus: CPUs of each pod: ``4`` or ``500m``.
        memory: Memory of each pod: ``16Gi``.
        gpus: GPUs of each pod.
        attempts: Starts of one job at most; each goes on where the one before ended.
        agents: Pods beside the search: agents that join it, or Ray workers.
        secrets: Environment variables, each with the Secret and key that hold it: ``NAME/KEY``.
        grace: Seconds between SIGTERM and SIGKILL.
        max_age: Age of the heartbeat in seconds from which a search counts as dead.
        start_within: Seconds after a scheduled time in which a job may still start.
        keep: Seconds for which ended jobs stay to be looked at.
        time_zone: Time zone of the schedule: ``Europe/Berlin``; None for the cluster's.
        service_account: ServiceAccount of the pods; None for the namespace's.
        ray_version: Version of Ray in the image, for ``rayjob``.
        kubectl_image: Image with ``sh`` and ``kubectl`` that creates scheduled RayJobs.
    """

    kind: Literal["kubernetes"]
    workload: Literal["job", "rayjob"] = "job"
    image: Annotated[str, matching("image", r"[\w.-][\w./:@-]*", "a container image")]
    namespace: Annotated[str | None, matching("namespace", _DNS, "a DNS label")] = None
    workdir: Annotated[str, matching("workdir", r"/[^:]*", "an absolute path")] = "/work"
    volume_claim: Annotated[str | None, matching("volume_claim", _DNS, "a DNS name")] = None
    cpus: Annotated[int | str, matching("cpus", r"\d+m?", "a number, or one with m")] = 4
    memory: Annotated[str, matching("memory", _QUANTITY, "a quantity like 16Gi")] = "16Gi"
    gpus: Count = 0
    attempts: Positive = 3
    agents: Count = 0
    secrets: Annotated[Variables, AfterValidator(_references)] = Field(default_factory=dict)
    grace: Annotated[float, seconds("grace")] = 60.0
    max_age: Annotated[float, seconds("max_age")] = 120.0
    start_within: Annotated[float, seconds("start_within")] = 3600.0
    keep: Annotated[float, seconds("keep")] = 604800.0
    time_zone: Annotated[str | None, matching("time_zone", r"[\w+/-]+", "like Etc/UTC")] = None
    service_account: Annotated[str | None, matching("service_account", _DNS, "a DNS name")] = None
    ray_version: Annotated[str, matching("ray_version", r"\d+\.\d+\.\d+", "like 2.60.0")] = (
        "2.60.0"
    )
    kubectl_image: Annotated[str, matching("kubectl_image", r"[\w.-][\w./:@-]*", "an image")] = (
        "alpine/k8s:1.34.1"
    )

    @property
    def on_ray(self) -> bool:
        """Whether the job runs on a Ray cluster."""
        return self.workload == "rayjob"
