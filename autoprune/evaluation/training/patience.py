"""When a finalist's training ends early, and the best weights it had."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from autoprune.core.stages import Stage
from autoprune.evaluation.measuring.measure import Measurement, Reading
from autoprune.surgery.tensors import copied


@dataclass(frozen=True)
class Look:
    """What a finalist was worth at a look; unlike a reading, it can be pickled.

    Args:
        measurement: What was found.
        at: The same as a stage.
    """

    measurement: Measurement
    at: Stage

    def found(self) -> Measurement:
        """Return what was found."""
        return self.measurement

    def stage(self, steps: int) -> Stage:
        """Return what was found as a stage after ``steps`` training steps."""
        return replace(self.at, steps=steps)


class Patience:
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
        self.best: Look | None = None  # of the best weights; None before the first look
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
        found = reading.found()
        worth = (-found.quality, found.loss)
        if self._worth is not None and worth >= self._worth:
            self._in_vain += 1
            return
        self._worth, self._in_vain = worth, 0
        self.best = Look(found, reading.stage(steps))
        self._weights = {name: t.clone() for name, t in model.state_dict().items()}

    def of_best(self, model: nn.Module) -> nn.Module:
        """Return a copy of a model with the best weights, the model before the first look."""
        if self.best is None:
            return model
        twin = copied(model)
        twin.load_state_dict(self._weights)
        return twin.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on."""
        return {
            "best": self.best,
            "worth": self._worth,
            "weights": self._weights,
            "in_vain": self._in_vain,
            "looked": self._looked,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.best, self._worth, self._weights = state["best"], state["worth"], state["weights"]
        self._in_vain, self._looked = state["in_vain"], state["looked"]
