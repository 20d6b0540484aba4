"""Finalists that are trained to the same rung: one after the other here, or side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autoprune.agent.evaluating.finalist import Finalist
from autoprune.agent.evaluating.lost_workers import LostWorkers
from autoprune.agent.evaluating.stretch import Stretch, Trained
from autoprune.core.stages import Stage
from autoprune.core.workers import Crew, WorkersLostError
from autoprune.errors import CandidateError, ModelError

Worth = Stage | CandidateError
Arrival = tuple[int, Worth]
Advance = Callable[[Sequence[Finalist], int], Iterator[Arrival]]


def in_turn(finalists: Sequence[Finalist], steps: int) -> Iterator[Arrival]:
    """Train finalists in this process until ``steps`` are done.

    Yields:
        The place of each in ``finalists``, and what it is worth there or why it is not there.
    """
    for at, finalist in enumerate(finalists):
        try:
            stage = finalist.reach(steps)
        except CandidateError as err:
            yield at, err
        else:
            yield at, stage


@dataclass
class SideBySide:
    """Has workers train finalists, as `in_turn` does, in whatever order they come.

    Where a finalist stands is kept here between two rungs, so one whose worker is lost is
    trained again from the last rung.

    Args:
        crew: The workers.
    """

    crew: Crew[Stretch, Trained]

    def __post_init__(self) -> None:
        self._lost = LostWorkers("finalists")

    def __call__(self, finalists: Sequence[Finalist], steps: int) -> Iterator[Arrival]:
        """Yield each as it comes.

        Raises:
            InfrastructureError: If workers do not live long enough to train anything.
            OutOfMemoryError: If memory ran out in one; the others have come to their end then.
        """
        try:
            yield from self._arrivals(finalists, steps)
        except ModelError:  # whoever catches it may give these workers other jobs
            self.crew.drain()
            raise

    def _arrivals(self, finalists: Sequence[Finalist], steps: int) -> Iterator[Arrival]:
        left = []
        for at, finalist in enumerate(finalists):
            known = finalist.stage(steps)
            if known is None:
                left.append(at)
            else:
                yield at, known
        while left or self.crew.busy:
            while left and self.crew.free:
                at = left.pop(0)
                self.crew.give(at, finalists[at].stretch(steps))
            for at, found in self.crew.done():
                yield at, self._taken(finalists[at], found)

    def _taken(self, finalist: Finalist, found: Trained | WorkersLostError) -> Worth:
        if isinstance(found, WorkersLostError):
            return CandidateError(f"In fine-tuning {self._lost.blame(found)}.")
        self._lost.came_back()
        try:
            return finalist.take(found)
        except CandidateError as err:
            return err
