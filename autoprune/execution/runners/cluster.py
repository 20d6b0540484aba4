"""A Ray cluster: one that exists, or one that is started on this machine."""

import logging
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from autoprune.core.cores import usable_cores
from autoprune.core.population import Populate
from autoprune.core.workers import Hire
from autoprune.errors import ConfigError, InfrastructureError
from autoprune.execution.runners.base import Count, Place, SearchRunner
from autoprune.execution.runners.local import Device, LocalRunner


def _mapping(given: Any) -> Any:
    return {} if given is None else given


class ClusterRunner(SearchRunner, ABC):
    """A Ray cluster that scores policies; this process proposes and keeps the books.

    Args:
        workers: Policies scored at a time; ``auto`` takes as many as the cluster has room for
            when it begins.
        address: Of the cluster: ``auto`` for the one that this machine is part of, ``HOST:PORT``
            or ``ray://HOST:PORT``; None starts one on this machine, for as long as the search.
        device: Where actors and this process compute: ``auto``, ``cpu`` or ``cuda``.
        threads: CPUs of each actor, and CPU threads of PyTorch in it.
        gpus: GPUs of each actor; less than 1 lets several share one.
        resources: Other resources of each, by Ray's name.
        runtime_env: What Ray prepares on the nodes: packages, variables, a folder.
    """

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
            ConfigError: If Ray is not installed, something the runner says cannot be used, a GPU
                is asked for that is not there, or a worker needs more than a cluster that is
                started here can ever have.
            InfrastructureError: If the cluster cannot be reached or started.
        """
        try:
            import ray
        except ImportError:
            raise ConfigError(
                f"A runner of kind {self.kind!r} needs Ray. Run: pip install 'autoprune[ray]'."
            ) from None
        self.check()
        device = LocalRunner(device=self.device).resolve_device()
        own = not ray.is_initialized()
        try:
            if own:
                self._connect()
            yield Place(device, self.hire(self._count()), self.populate())
        finally:
            if own:
                ray.shutdown()

    @abstractmethod
    def hire(self, count: int) -> Hire:
        """Return what starts so many workers on the cluster that this process is connected to."""

    def populate(self) -> Populate | None:
        """Return what trains finalists as a population, None where nothing does."""
        return None

    def actors(self, count: int) -> Hire:
        """Return what starts so many actors."""
        from autoprune.execution.workers.cluster import ray_workers

        needs = {"num_cpus": self.threads, "num_gpus": self.gpus, "resources": self.resources}
        return ray_workers(count, needs, self.threads)

    @property
    def needs(self) -> dict[str, float]:
        """What a worker needs of the cluster, by Ray's names."""
        needs = {"CPU": float(self.threads), "GPU": self.gpus, **self.resources}
        return {name: amount for name, amount in needs.items() if amount}

    @property
    def started(self) -> dict[str, float]:
        """What a cluster that is started here, without an address, will have, by Ray's names.

        It gets the CPUs that a given number of workers needs, and at least what this machine has.
        Of resources other than CPUs and GPUs it is taken to have enough: Ray finds those.
        """
        import torch

        wanted = 1 if self.workers == "auto" else self.workers * self.threads
        cores, gpus = max(usable_cores(), wanted), torch.cuda.device_count()
        return self.needs | {"CPU": float(cores), "GPU": float(gpus)}

    def lacking(self, there: Mapping[str, float]) -> Iterator[str]:
        """Yield in words what a worker needs and a cluster does not have.

        Args:
            there: What the cluster has, by Ray's names.
        """
        what = "Lower" if self.address is None else "Add nodes, or lower"
        for name, amount in self.needs.items():
            if there.get(name, 0.0) < amount:
                yield (
                    f"A worker needs {amount:g} {name}, and the cluster has "
                    f"{there.get(name, 0.0):g}. {what} what the runner file asks for."
                )

    def _require(self, there: Mapping[str, float]) -> None:
        """Refuse what would wait for ever: nobody adds nodes to a cluster that is started here."""
        if lacking := list(self.lacking(there)):
            raise ConfigError(" ".join(lacking))

    def _connect(self) -> None:
        import ray

        settings: dict[str, Any] = {"runtime_env": self.runtime_env or None}
        if self.address is None:  # Ray secures it by a token by itself
            self._require(self.started)
            cores = int(self.started["CPU"])
            settings |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
        else:
            settings["address"] = self.address
        try:
            with _same_sigterm():
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
        except Exception as err:  # a start that takes too long raises no class of Ray's own
            raise self._unreached(err) from err
        if self.address is None:
            self._require(ray.cluster_resources())  # type: ignore[no-untyped-call]

    def _unreached(self, err: Exception) -> InfrastructureError:
        reason = " ".join(str(err).split())[:500]
        if self.address is None:
            return InfrastructureError(
                f"Ray cannot start: {reason} It gives itself 30 seconds, which a busy machine may "
                "not have for it: the same command goes on later."
            )
        return InfrastructureError(
            f"The Ray cluster at {self.address!r} cannot be reached: {reason} Check that it runs, "
            "and the runner's 'address'."
        )

    def _count(self) -> int:
        """Return how many actors the cluster has room for, if the runner does not say."""
        if self.workers != "auto":
            return int(self.workers)
        import ray

        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return max(min(int(there.get(n, 0) / need) for n, need in self.needs.items()), 1)


@contextmanager
def _same_sigterm() -> Iterator[None]:
    """Keep Ray from handling SIGTERM: it would end the process with another exit code."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class RayRunner(ClusterRunner):
    """Actors of a Ray cluster.

    Args:
        kind: ``ray``.
    """

    kind: Literal["ray"] = "ray"

    def hire(self, count: int) -> Hire:
        """Return what starts so many actors."""
        return self.actors(count)
