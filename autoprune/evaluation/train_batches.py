"""Training batches without end, which another process can go on with where this one stopped."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoprune.errors import DataError
from autoprune.evaluation.randomness import renew, restore, to_dict
from autoprune.tasks import Task


class TrainBatches:
    """Goes round the training split; the state is where a pass began, and how far it got.

    To go on, the pass is begun anew with the random numbers it began with, and what was taken is
    taken again. So the order goes on; what a worker process that outlives a pass
    (``persistent_workers``) draws at random does not.

    Args:
        task: Its ``train`` split.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._loaders = task, [task.loader("train")]
        self._pass: Iterator[Any] = iter(())
        self._start: dict[str, Any] | None = None
        self._taken = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
            DataError: If the user's loader raises, yields nothing, or yields something else.
        """
        try:
            batch = next(self._pass)
        except StopIteration:
            self._start, self._taken = to_dict(self._loaders), 0
            self._pass = self._task.batches("train")
            batch = next(self._pass)
        self._taken += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return where it is."""
        return {"start": self._start, "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where a state was taken; all sources of random numbers are somewhere after it.

        Raises:
            DataError: If the pass ends before.
        """
        self._start, self._taken, self._pass = state["start"], 0, iter(())
        if self._start is None:
            return
        restore(self._start, self._loaders)
        renew(self._loaders)
        self._pass = self._task.batches("train")
        for _ in range(state["taken"]):
            if next(self._pass, None) is None:
                raise DataError(
                    f"The train loader ended after {self._taken} batches, and {state['taken']} "
                    "had been taken before training was stopped. Go on with the same data."
                )
            self._taken += 1
