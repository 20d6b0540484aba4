"""Every kind of workers does what the search expects of them."""

from autoprune.core.workers import Hire
from autoprune.execution.workers.local import can_fork, local_workers
from autoprune.testing.workers import WorkersContract


class TestForked(WorkersContract):
    def make(self) -> Hire:
        assert can_fork("cpu", 1)
        return local_workers(2, "cpu", 1)


class TestSpawned(WorkersContract):
    def make(self) -> Hire:
        assert not can_fork("cpu", 2)
        return local_workers(2, "cpu", 2)
