"""Steps of the optimiser, and what goes along with them: rate, clipping, precision, average."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from autoprune.core.recovery import Recovery
from autoprune.evaluation.training.optimiser import rate_schedule, sgd, slow_down, take_rates
from autoprune.evaluation.training.precision import Precision, precision_of
from autoprune.evaluation.training.weight_average import averaged

_RUINED_BY_SGD = (nn.LayerNorm, nn.RMSNorm, nn.MultiheadAttention)  # unless gradients are clipped
_USUAL_NORM = 1.0


def clip_norm_of(recovery: Recovery, model: nn.Module) -> float:
    """Return the largest norm of all gradients together in the training of a model, 0 for none."""
    if recovery.clip_norm is not None:
        return recovery.clip_norm
    return _USUAL_NORM if any(isinstance(one, _RUINED_BY_SGD) for one in model.modules()) else 0.0


class Updates:
    """Takes steps of one training.

    Args:
        model: What is trained, in place.
        recovery: Settings of the training.
        steps: How many steps there are to the end.
        device: Where the model is.

    Raises:
        ConfigError: If the device cannot compute with ``recovery.amp``.
    """

    def __init__(self, model: nn.Module, recovery: Recovery, steps: int, device: str) -> None:
        self._model, self._clip_norm = model, clip_norm_of(recovery, model)
        self._precision = Precision(precision_of(recovery.amp, device), device)
        self._optimiser = sgd(model, recovery)
        self._schedule = rate_schedule(self._optimiser, recovery, steps)
        self._average = averaged(model, recovery.ema) if recovery.ema else None

    @property
    def average(self) -> nn.Module | None:
        """The model with averaged weights, in eval mode; None if there is none."""
        return None if self._average is None else self._average.module

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimiser.param_groups[0]["lr"])

    def take_rates(self, state: Mapping[str, Any]) -> None:
        """Go on with the learning rates in the state of an optimiser."""
        take_rates(self._optimiser, state["param_groups"][0])

    def parts(self) -> dict[str, Any]:
        """Return by name what has a state."""
        found = {
            "optimiser": self._optimiser,
            "schedule": self._schedule,
            "average": self._average,
            "scaler": self._precision.scaler,
        }
        return {name: part for name, part in found.items() if part is not None}

    def outputs(self, forward: Callable[[], Any]) -> Any:
        """Return what a forward returns, see `Precision.outputs`."""
        return self._precision.outputs(forward)

    def step(self, loss: torch.Tensor) -> bool:
        """Take a step down a loss; False if it was left out, see `Precision.step`."""
        self._optimiser.zero_grad(set_to_none=True)
        self._precision.backward(loss, self._optimiser)
        if self._clip_norm:
            clip_grad_norm_(self._model.parameters(), self._clip_norm)
        return self._precision.step(self._optimiser)

    def go_on(self, stepped: bool) -> None:
        """Change the rate and take the weights into the average, after a step."""
        if self._schedule is not None and stepped:
            self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self._model)

    def slow_down(self, factor: float) -> None:
        """Multiply the learning rate, now and from now on."""
        slow_down(self._optimiser, self._schedule, factor)
