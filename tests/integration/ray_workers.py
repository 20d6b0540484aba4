"""The contract of workers, for those of Ray; run by a test in a network of its own."""

from collections.abc import Iterator

import pytest

from autoprune.core.workers import Hire
from autoprune.execution.runners.cluster import RayRunner
from autoprune.testing.workers import WorkersContract

_HIRE: list[Hire] = []


@pytest.fixture(autouse=True, scope="module")
def _cluster() -> Iterator[None]:
    with RayRunner(workers=2, device="cpu").applied() as place:
        _HIRE.append(place.hire)
        yield


class TestRay(WorkersContract):
    def make(self) -> Hire:
        return _HIRE[0]
