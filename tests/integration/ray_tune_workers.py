"""The contract of workers, for trials of Ray Tune; run by a test in a network of its own."""

from collections.abc import Iterator

import pytest

from autoprune.core.workers import Hire
from autoprune.execution.runners.tune import RayTuneRunner
from autoprune.testing.workers import WorkersContract

_HIRE: list[Hire] = []


@pytest.fixture(autouse=True, scope="module")
def _cluster() -> Iterator[None]:
    runner = RayTuneRunner(workers=2, device="cpu", scheduler={"name": "asha"})
    with runner.applied():
        _HIRE.append(runner.tuned(2))
        yield


class TestRayTune(WorkersContract):
    def make(self) -> Hire:
        return _HIRE[0]
