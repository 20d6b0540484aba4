"""The contract of workers, for those of Ray; run by a test in a network of its own."""

from collections.abc import Iterator

import pytest

from autoprune.core.workers import Hire
from autoprune.execution.runners.cluster import RayRunner
from autoprune.testing.workers import WorkersContract


@pytest.fixture(scope="module")
def shared() -> Iterator[Hire]:
    with RayRunner(workers=2, device="cpu").applied() as place:
        yield place.hire


class TestRay(WorkersContract):
    @pytest.fixture
    def hire(self, shared: Hire) -> Hire:
        return shared
