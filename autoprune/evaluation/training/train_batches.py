"""Training batches without end, which another process can go on with where this one stopped."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoprune.errors import DataError
from autoprune.evaluation.randomness import renew, restore, to_dict
from autoprune.tasks import Task


class TrainBatches:
    """Goes round the training split; the state is where a pass began, and how far it got.

    To go on, the pass is begun anew with the random numbers it began with, and what was taken is
    taken again, once another batch is needed. So the order goes on; what a worker process that
    outlives a pass (``persistent_workers``) draws at random does not.

    Args:
        task: Its ``train`` split.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._loaders = task, [task.loader("train")]
        self._pass: Iterator[Any] = iter(())
        self._start: dict[str, Any] | None = None
        self._taken = 0
        self._elsewhere = False  # whether the pass is one of another process, or an earlier one

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
            DataError: If the user's loader raises, yields nothing, or yields something else, or
                less than it did in the process that a state comes from.
        """
        if self._elsewhere:
            self._go_on()
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
        """Go to where a state was taken."""
        self._start, self._taken, self._pass = state["start"], state["taken"], iter(())
        self._elsewhere = self._start is not None

    def _go_on(self) -> None:
        """Take again what was taken, and leave all random numbers as they are."""
        assert self._start is not None
        now = to_dict(self._loaders)
        restore(self._start, self._loaders)
        renew(self._loaders)
        self._pass = self._task.batches("train")
        for taken in range(self._taken):
            if next(self._pass, None) is None:
                raise DataError(
                    f"The train loader ended after {taken} batches, and {self._taken} had been "
                    "taken before training was stopped. Go on with the same data."
                )
        restore(now, self._loaders)
        self._elsewhere = False
