"""When a finalist's training ends early, and the best weights it had."""

import torch
from torch import nn

from autoprune.evaluation.measure import Measurement, Reading
from autoprune.surgery.tensors import copied


class EarlyStop:
    """Looks at a finalist every so many steps, and keeps what was best.

    Quality decides, then loss, as between finalists.

    Args:
        every: Training steps from one look to the next.
        patience: How many looks in a row may bring nothing better.
    """

    def __init__(self, every: int, patience: int) -> None:
        self.every, self._patience = every, patience
        self.best: Reading  # of the best weights, after the first look
        self._worth: tuple[float, float] | None = None
        self._weights: dict[str, torch.Tensor] = {}
        self._in_vain = 0

    @property
    def over(self) -> bool:
        """Whether patience is at an end."""
        return self._in_vain >= self._patience

    def aims(self, done: int, steps: int) -> list[int]:
        """Return where to look on the way from ``done`` to ``steps``, the end included."""
        first = done - done % self.every + self.every
        return [*range(first, steps, self.every), steps]

    def look(self, reading: Reading, model: nn.Module) -> None:
        """Take in what was measured of a model."""
        found: Measurement = reading.found()
        worth = (-found.quality, found.loss)
        if self._worth is not None and worth >= self._worth:
            self._in_vain += 1
            return
        self._worth, self.best, self._in_vain = worth, reading, 0
        self._weights = {name: t.clone() for name, t in model.state_dict().items()}

    def of_best(self, model: nn.Module) -> nn.Module:
        """Return a copy of a model with the best weights."""
        twin = copied(model)
        twin.load_state_dict(self._weights)
        return twin.eval()
