"""Finalists that are trained to the same rung: one after the other here, or side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autoprune.agent.finalist import Finalist
from autoprune.agent.stretch import Stretch, Trained
from autoprune.core.stages import Stage
from autoprune.core.workers import Crew, WorkersLostError
from autoprune.errors import CandidateError, InfrastructureError, ModelError

Worth = Stage | CandidateError
Arrival = tuple[int, Worth]
Advance = Callable[[Sequence[Finalist], int], Iterator[Arrival]]
_MOST_LOST = 3  # finalists in a row that cost their workers, before the workers are to blame


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
    _lost: int = 0  # finalists in a row that took their workers with them

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
            return self._blamed(found)
        self._lost = 0
        try:
            return finalist.take(found)
        except CandidateError as err:
            return err

    def _blamed(self, lost: WorkersLostError) -> CandidateError:
        """Blame a finalist for its workers; if all do so, the workers are to blame."""
        self._lost += 1
        if self._lost >= _MOST_LOST:
            raise InfrastructureError(
                "Workers do not live long enough to fine-tune anything: "
                f"{self._lost} finalists in a row cost {lost}. What was scored is kept. Look for "
                "what ends them, memory that runs out for one; the same command goes on."
            )
        return CandidateError(f"To fine-tune it cost {lost}.")
