"""One job that costs its workers is to blame for it; three in a row are not."""

import pytest

from autoprune.agent.evaluating.lost_workers import LostWorkers
from autoprune.core.workers import WorkersLostError
from autoprune.errors import InfrastructureError

LOST = WorkersLostError("3 workers, the last ended by signal 9")


def test_one_job_is_to_blame_and_the_next_one_too() -> None:
    lost = LostWorkers("policies")
    said = [lost.blame(LOST) for _ in range(2)]
    assert said == ["it cost 3 workers, the last ended by signal 9"] * 2


def test_three_in_a_row_are_not() -> None:
    lost = LostWorkers("finalists")
    for _ in range(2):
        lost.blame(LOST)
    with pytest.raises(InfrastructureError) as raised:
        lost.blame(LOST)
    told = str(raised.value)
    assert told.startswith("The last 3 finalists each cost 3 workers, the last ended by signal 9.")
    assert "is kept" in told
    assert told.endswith("the same command goes on.")


def test_one_that_comes_back_in_between_is_enough() -> None:
    lost = LostWorkers("policies")
    for _ in range(5):
        lost.blame(LOST)
        lost.blame(LOST)
        lost.came_back()
    lost.blame(LOST)
    assert lost.count == 1
