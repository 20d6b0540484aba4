"""Training of one model: it may pause, fall over and get up, and go on in another process."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from autoprune.core.recovery import Recovery
from autoprune.errors import CandidateError, ConfigError
from autoprune.evaluation.distillation.distill import Distillation
from autoprune.evaluation.measuring.measure import to_device
from autoprune.evaluation.randomness import Randomness, restore, to_dict
from autoprune.evaluation.training.good_states import GoodStates
from autoprune.evaluation.training.train_batches import TrainBatches
from autoprune.evaluation.training.updates import Updates
from autoprune.surgery.nested import fresh
from autoprune.tasks import Task
from autoprune.tasks.splits import in_split

After = Callable[[int, float], None]
_OF_NO_WEIGHTS = {"batches", "schedule", "scaler"}  # parts whose state belongs to no model
MOST_HALVINGS = 3


class FineTuning:
    """Training of one model that may stop: steps taken in parts are the steps of one go.

    Where the loss becomes NaN or infinite it goes back to the last good state, and on from there
    with half the learning rate; if that fails before the next state is kept, back to the start.

    Args:
        model: What is trained, in place; in eval mode in the pauses.
        task: Source of the training batches and the loss.
        steps: How many batches there are to the end.
        recovery: Settings of the training.
        device: Where the model is.
        after: Called after each step of the optimiser with the number of the step, from 0, and
            its learning rate.
        teacher: The dense model, where ``recovery`` says to learn from it or the task has no loss.
        randomness: What is drawn from; None for the sources as they are.

    Attributes:
        learns: Whether each step runs the dense model too.

    Raises:
        ConfigError: If the device cannot compute with ``recovery.amp``.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        steps: int,
        recovery: Recovery,
        device: str,
        *,
        after: After = lambda step, rate: None,
        teacher: nn.Module | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        self._model, self._task, self._device = model, task, device
        self._steps, self._after, self._randomness = steps, after, randomness
        self._distillation = None
        if teacher is not None and (recovery.distils or not task.has_loss):
            self._distillation = Distillation(teacher, task, recovery)
        self.learns = self._distillation is not None
        self.done = self.halvings = self.samples = 0
        self._pace = 1.0
        self.good = GoodStates()
        self._parts: dict[str, Any] = {"model": model}
        self._average: nn.Module | None = None
        if steps:  # nothing may be trainable otherwise
            self._batches = TrainBatches(task)
            self._updates = Updates(model, recovery, steps, device)
            self._average = self._updates.average
            self._parts |= {"batches": self._batches} | self._updates.parts()

    @property
    def kept(self) -> nn.Module:
        """What training has come to, in eval mode in the pauses: the model or its average."""
        return self._average if self._average is not None and self.done else self._model

    def advance(self, steps: int) -> int:
        """Train until ``steps`` steps are done in all; return the samples that took.

        Raises:
            CandidateError: If the loss becomes NaN or infinite, again and again.
            DataError: If the train loader fails, or yields less than it did before a state.
        """
        if steps <= self.done:
            return 0
        before = self.samples
        self._model.train()
        with self._running():
            while self.done < steps:
                if self.good.due(self.done):
                    self.good.offer(self._state())
                batch = to_device(next(self._batches), self._device)
                self.samples += self._task.samples(batch)
                self._step(batch)
        self._model.eval()
        if self.done >= self._steps:
            self.good.clear()
        return self.samples - before

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on, for ``torch.save``."""
        with self._running():
            return self._state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: the steps to come are those that would have followed it.

        Should the loss become NaN, it is the state that is gone back to.

        Raises:
            ConfigError: If it comes from a training with other settings.
        """
        parts = sorted(state["parts"])
        if (state["steps"], parts) != (self._steps, sorted(self._parts)):
            raise ConfigError(
                f"This state is one of {state['steps']} steps with {', '.join(parts)}; the "
                f"training is one of {self._steps} steps with {', '.join(sorted(self._parts))}. "
                "Go on with the settings it was made with."
            )
        with self._running():
            self._load(state)
        self.good.only(_copied(state))

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Go on where the training of another model stopped: its batches, rate and randomness.

        Momentum and averages of weights begin anew, for weights may be gone or new.
        """
        with self._running():
            parts = _copied(state["parts"])
            for name in _OF_NO_WEIGHTS & self._parts.keys() & parts.keys():
                self._parts[name].load_state_dict(parts[name])
            if self._steps:
                self._updates.take_rates(parts["optimiser"])
            restore(state["random"], [self._task.loader("train")])
            self.done, self.halvings, self._pace = state["done"], state["halvings"], state["pace"]

    def set_pace(self, pace: float) -> None:
        """Train at so many times the schedule's learning rate from here on."""
        if self._steps:
            self._updates.slow_down(pace / self._pace)
        self._pace = pace

    def _running(self) -> AbstractContextManager[None]:
        return self._randomness.running() if self._randomness else nullcontext()

    def _step(self, batch: Any) -> None:
        with in_split("train"):
            loss = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            self._get_up(value)
            return
        self.good.confirm()
        rate = self._updates.rate
        stepped = self._updates.step(loss)
        self._after(self.done, rate)
        self._updates.go_on(stepped)
        self.done += 1

    def _loss(self, batch: Any) -> torch.Tensor:
        forward = partial(self._task.outputs, self._model, fresh(batch))
        if self._distillation is None:
            return self._task.loss(self._updates.outputs(forward), batch)
        with self._distillation.watching(self._model):
            outputs = self._updates.outputs(forward)
        return self._distillation.loss(outputs, batch, self._updates.outputs)

    def _get_up(self, value: float) -> None:
        """Go back to a good state, with half the learning rate."""
        halvings, pace, good = self.halvings + 1, self._pace, self.good.back()
        if good is None or halvings > MOST_HALVINGS:
            again = (
                "" if good is None else f", the learning rate being halved {self.halvings} times"
            )
            raise CandidateError(f"The training loss became {value}{again}.")
        self._load(good)
        self.set_pace(pace)
        self._updates.slow_down(0.5 ** (halvings - self.halvings))
        self.halvings = halvings

    def _state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        random = to_dict([self._task.loader("train")])
        own = {"steps": self._steps, "done": self.done, "halvings": self.halvings}
        return {"parts": _copied(parts), "random": random, "pace": self._pace, **own}

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, stored in _copied(state["parts"]).items():
            self._parts[name].load_state_dict(stored)
        restore(state["random"], [self._task.loader("train")])
        self.done, self.halvings, self._pace = state["done"], state["halvings"], state["pace"]


def _copied(state: Any) -> Any:
    return fresh(state)


def fine_tune(
    model: nn.Module, task: Task, steps: int, recovery: Recovery, device: str, **more: Any
) -> int:
    """Train ``model`` in place, in one go; return the number of samples used.

    The arguments are those of `FineTuning`.

    Raises:
        CandidateError: If the loss becomes NaN or infinite, again and again.
    """
    return FineTuning(model, task, steps, recovery, device, **more).advance(steps)
