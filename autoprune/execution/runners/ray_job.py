"""Job submission of Ray: what a runner file of kind ``ray-job`` holds."""

from typing import Annotated, Literal

from pydantic import Field

from autoprune.execution.runners.jobs import JobRunner, Variables, matching


class RayJobRunner(JobRunner):
    """A Ray cluster that is there already: its job submission.

    Args:
        kind: ``ray-job``.
        address: Address of the cluster's dashboard: ``http://HOST:8265``.
        cpus: CPUs that the search itself takes, beside those of its evaluations.
        gpus: GPUs that the search itself takes.
        upload: Whether the folder the command runs in is sent to the cluster; without, paths are
            those of the cluster.
        workdir: Where the command runs on the cluster if nothing is sent.
        exclude: What of the folder is not sent, as ``.gitignore`` writes it.
        secret_files: Environment variables, and the file that each is read from on the cluster.
    """

    kind: Literal["ray-job"]
    address: Annotated[
        str, matching("address", r"https?://[\w.:\[\]-]+/?", "http://HOST:PORT")
    ] = "http://127.0.0.1:8265"
    cpus: Annotated[float, Field(ge=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    upload: Annotated[bool, Field(strict=True)] = True
    workdir: str | None = None
    exclude: tuple[str, ...] = ()
    secret_files: Variables = Field(default_factory=dict)

    @property
    def on_ray(self) -> bool:
        """Whether the job runs on a Ray cluster."""
        return True
