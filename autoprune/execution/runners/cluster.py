"""A Ray cluster: one that exists, or one that is started on this machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from autoprune.core.cores import usable_cores
from autoprune.errors import ConfigError, InfrastructureError
from autoprune.execution.runners.base import Count, Place, SearchRunner
from autoprune.execution.runners.local import Device, LocalRunner


def _mapping(given: Any) -> Any:
    return {} if given is None else given


class RayRunner(SearchRunner):
    """A Ray cluster whose actors score policies; this process proposes and keeps the books.

    Args:
        kind: ``ray``.
        workers: Actors; ``auto`` takes as many as the cluster has room for when it begins.
        address: Of the cluster: ``auto`` for the one that this machine is part of, ``HOST:PORT``
            or ``ray://HOST:PORT``; None starts one on this machine, for as long as the search.
        device: Where actors and this process compute: ``auto``, ``cpu`` or ``cuda``.
        threads: CPUs of each actor, and CPU threads of PyTorch in it.
        gpus: GPUs of each actor; less than 1 lets several share one.
        resources: Other resources of each, by Ray's name.
        runtime_env: What Ray prepares on the nodes: packages, variables, a folder.
    """

    kind: Literal["ray"] = "ray"
    workers: Count = "auto"
    address: str | None = None
    device: Device = "auto"
    threads: Annotated[int, Field(ge=1, strict=True)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    resources: Annotated[dict[str, float], BeforeValidator(_mapping)] = Field(default_factory=dict)
    runtime_env: Annotated[dict[str, Any], BeforeValidator(_mapping)] = Field(default_factory=dict)

    @contextmanager
    def applied(self) -> Iterator[Place]:
        """Connect to the cluster, or start it, for a while.

        Raises:
            ConfigError: If Ray is not installed, or a GPU is asked for that is not there.
            InfrastructureError: If the cluster cannot be reached or started.
        """
        try:
            import ray
        except ImportError:
            raise ConfigError(
                "A runner of kind 'ray' needs Ray. Run: pip install 'autoprune[ray]'."
            ) from None
        from autoprune.execution.workers.cluster import ray_workers

        device = LocalRunner(device=self.device).resolve_device()
        own = not ray.is_initialized()
        if own:
            self._connect()
        try:
            needs = {"num_cpus": self.threads, "num_gpus": self.gpus, "resources": self.resources}
            yield Place(device, ray_workers(self._count(), needs, self.threads))
        finally:
            if own:
                ray.shutdown()

    def _connect(self) -> None:
        import ray

        settings: dict[str, Any] = {"runtime_env": self.runtime_env or None}
        if self.address is None:  # Ray secures it by a token by itself
            wanted = 1 if self.workers == "auto" else self.workers * self.threads
            room = max(usable_cores(), wanted)
            settings |= {"address": "local", "num_cpus": room, "include_dashboard": False}
        else:
            settings["address"] = self.address
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as err:
            where = f"at {self.address!r} cannot be reached" if self.address else "cannot start"
            raise InfrastructureError(
                f"The Ray cluster {where}: {' '.join(str(err).split())[:500]} Check that it runs, "
                "and the runner's 'address'."
            ) from err

    def _count(self) -> int:
        """Return how many actors the cluster has room for, if the runner does not say."""
        if self.workers != "auto":
            return int(self.workers)
        import ray

        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        needs = {"CPU": self.threads, "GPU": self.gpus, **self.resources}
        return max(min(int(there.get(n, 0) / need) for n, need in needs.items() if need), 1)
