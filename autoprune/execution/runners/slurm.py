"""Slurm: what a runner file of kind ``slurm`` holds."""

from typing import Annotated, Literal

from pydantic import Field

from autoprune.execution.runners.jobs import (
    Count,
    JobRunner,
    Positive,
    Variables,
    matching,
    seconds,
)


class SlurmRunner(JobRunner):
    """Slurm: a batch script, and a line of ``scrontab`` for a schedule.

    Args:
        kind: ``slurm``.
        nodes: Nodes of one job.
        across: How a search runs on several nodes: ``ray`` starts a Ray cluster on them,
            ``agents`` starts the search on the first and an agent on each of the others.
        cpus: CPUs on each node.
        memory: Memory on each node, as Slurm writes it: ``16G``.
        gpus: GPUs on each node.
        partition: Partition, or None for the cluster's own choice.
        account: Account to charge.
        qos: Quality of service.
        constraint: Features that nodes must have.
        margin: Seconds beside the deadline: to start, and to write what there is.
        grace: Seconds before the end of the job's time at which it is told to stop.
        logs: Name of the log; ``%x`` is the job's name, ``%j`` its number.
        attempts: Starts of one job at most; each goes on where the one before ended.
        setup: Lines of shell that run first: modules, a virtual environment.
        secret_files: Environment variables, and the file that each is read from on the node.
    """

    kind: Literal["slurm"]
    nodes: Positive = 1
    across: Literal["ray", "agents"] = "ray"
    cpus: Positive = 4
    memory: Annotated[str, matching("memory", r"\d+[KMGT]?", "a number and K, M, G or T")] = "16G"
    gpus: Count = 0
    partition: Annotated[str | None, matching("partition", r"[\w.,-]+", "a word")] = None
    account: Annotated[str | None, matching("account", r"[\w.-]+", "a word")] = None
    qos: Annotated[str | None, matching("qos", r"[\w.-]+", "a word")] = None
    constraint: Annotated[str | None, matching("constraint", r"[\w&|*.-]+", "features")] = None
    margin: Annotated[float, seconds("margin")] = 1200.0
    grace: Annotated[float, seconds("grace")] = 60.0
    logs: Annotated[str, matching("logs", r"[\w./%-]+", "a path without blanks")] = "%x-%j.log"
    attempts: Positive = 3
    setup: tuple[str, ...] = ()
    secret_files: Variables = Field(default_factory=dict)

    @property
    def on_ray(self) -> bool:
        """Whether the job runs on a Ray cluster."""
        return self.nodes > 1 and self.across == "ray"
