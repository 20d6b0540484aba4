"""When a finalist's training ends early, and the best weights it had."""

import torch
from torch import nn

from autoprune.evaluation.measure import Measurement, Reading
from autoprune.surgery.tensors import copied


class EarlyStop:
    """Looks at a finalist every so many steps and at the end, and keeps what was best.

    Quality decides, then loss, as between finalists. Where training pauses on the way is no
    matter: a look there would be one more that may bring nothing better, or the best.

    Args:
        every: Training steps from one look to the next.
        patience: How many looks in a row may bring nothing better.
        steps: Training steps to the end.
    """

    def __init__(self, every: int, patience: int, steps: int) -> None:
        self._every, self._patience, self._steps = every, patience, steps
        self.best: Reading | None = None  # of the best weights; None before the first look
        self._worth: tuple[float, float] | None = None
        self._weights: dict[str, torch.Tensor] = {}
        self._in_vain, self._looked = 0, -1

    @property
    def over(self) -> bool:
        """Whether patience is at an end."""
        return self._in_vain >= self._patience

    def aims(self, steps: int) -> list[int]:
        """Return where to look on the way from the last look to ``steps``."""
        often = range(self._every, steps + 1, self._every)
        end = [steps] if steps >= self._steps and steps not in often else []
        return [at for at in (*often, *end) if at > self._looked]

    def look(self, steps: int, reading: Reading, model: nn.Module) -> None:
        """Take in what was measured of a model after so many steps."""
        self._looked = steps
        found: Measurement = reading.found()
        worth = (-found.quality, found.loss)
        if self._worth is not None and worth >= self._worth:
            self._in_vain += 1
            return
        self._worth, self.best, self._in_vain = worth, reading, 0
        self._weights = {name: t.clone() for name, t in model.state_dict().items()}

    def of_best(self, model: nn.Module) -> nn.Module:
        """Return a copy of a model with the best weights, the model before the first look."""
        if self.best is None:
            return model
        twin = copied(model)
        twin.load_state_dict(self._weights)
        return twin.eval()
