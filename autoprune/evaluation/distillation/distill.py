"""What the dense model teaches a finalist: its outputs, and where it looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autoprune._hints import did_you_mean
from autoprune.core.recovery import Recovery
from autoprune.errors import ConfigError
from autoprune.evaluation.distillation.attention import (
    Hidden,
    attention_distance,
    channel_axis,
    last_of_each_size,
    watching,
)
from autoprune.evaluation.distillation.imitation import imitation
from autoprune.evaluation.measuring.divergence import divergence
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, forward
from autoprune.surgery.tensors import copied
from autoprune.tasks import Task, need_logits
from autoprune.tasks.classification import gives_logits

_USUAL = 0.5

Run = Callable[[Callable[[], Any]], Any]


class Distillation:
    """Mixes into a loss how far a model is from the dense one; all of it where a task has none.

    Args:
        dense: The dense model; its modes and weights are left alone.
        task: Knows inputs and logits.
        recovery: Weights of the terms.
    """

    def __init__(self, dense: nn.Module, task: Task, recovery: Recovery) -> None:
        self._dense, self._task, self._recovery = dense, task, recovery
        self._names: list[str] | None = None  # of the modules that are compared
        self._seen: Hidden = {}

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Gather what the loss needs of the forward of ``model`` that runs in the block."""
        if self._recovery.distill_features == 0:
            yield
            return
        with watching(model, self._names) as self._seen:
            yield

    def loss(self, outputs: Any, batch: Any, run: Run = lambda forward: forward()) -> Tensor:
        """Return the loss of a forward that was watched.

        Args:
            outputs: What the forward returned.
            batch: Of what.
            run: Runs the forward of the dense model.
        """
        recovery, task = self._recovery, self._task
        with evaluating(self._dense), torch.no_grad(), self._watching_dense() as dense:
            taught = run(partial(forward, self._dense, self._task.inputs(batch)))
        own = task.loss(outputs, batch) if task.has_loss else imitation(outputs, taught)
        found = torch.as_tensor(own)
        if recovery.distill:
            logits = need_logits(task, "recovery.distill").logits
            softened = divergence(logits(outputs), logits(taught), recovery.distill_temperature)
            found = (1 - recovery.distill) * found + recovery.distill * softened
        if recovery.distill_features > 0:
            found = found + recovery.distill_features * self._distance(dense)
        return found

    @contextmanager
    def _watching_dense(self) -> Iterator[Hidden]:
        if self._recovery.distill_features == 0:
            yield {}
            return
        with watching(self._dense, self._names) as dense:
            yield dense

    def _distance(self, dense: Hidden) -> Tensor | float:
        """Return the mean distance of the maps of all modules that are compared."""
        ours, self._seen = self._seen, {}
        if self._names is None:
            self._names = compared(ours, dense, self._recovery.distill_modules)
        both = [name for name in self._names if name in ours and name in dense]
        found = [  # what this batch went through, with maps of more than one place
            attention_distance(ours[name], dense[name])
            for name in both
            if channel_axis(ours[name].shape, dense[name].shape) is not None
        ]
        return torch.stack(found).mean() if found else 0.0


def compared(ours: Hidden, dense: Hidden, named: tuple[str, ...]) -> list[str]:
    """Return the modules whose outputs are compared; named ones that were cut out are left out.

    Raises:
        ConfigError: If a named module's outputs cannot be compared.
    """
    if not named:
        return last_of_each_size(ours, dense)
    for name in named:
        if name not in dense or channel_axis(dense[name].shape, dense[name].shape) is None:
            hint = did_you_mean(name, last_of_each_size(dense, dense))
            raise ConfigError(
                f"recovery.distill_modules: {name!r} is no module of the model that returns one "
                f"tensor of maps, [samples, channels, ...] or [samples, tokens, channels].{hint}"
            )
    return [
        n for n in named if n in ours and channel_axis(ours[n].shape, dense[n].shape) is not None
    ]


def share_of(recovery: Recovery, task: Task, *, own_training: bool) -> float:
    """Return the share of the dense model's outputs in what finalists learn.

    Unasked it is a half where outputs are logits; what a class of the user's own calls outputs,
    nobody knows.

    Args:
        recovery: The settings.
        task: The task.
        own_training: Whether the user's own function trains them.
    """
    if recovery.distill is not None:
        return recovery.distill
    return _USUAL if gives_logits(task) and not own_training else 0.0


def check_teachable(dense: nn.Module, task: Task, inputs: Inputs, recovery: Recovery) -> None:
    """Refuse settings of distillation that the task or the model does not allow.

    Args:
        dense: The dense model.
        task: The task.
        inputs: Arguments of one forward, where the model is.
        recovery: The settings.

    Raises:
        ConfigError: If the task has no logits, hidden maps cannot be compared, or outputs cannot
            be imitated where the task has no loss.
    """
    if recovery.distill:
        need_logits(task, "recovery.distill")
    softens = recovery.distill_temperature != Recovery().distill_temperature
    if softens and not share_of(recovery, task, own_training=False):
        raise ConfigError(
            "recovery.distill_temperature has no effect without recovery.distill, which is 0 here "
            f"unless told otherwise (task {task.name!r}). Leave it out, or set both."
        )
    if not task.has_loss and (recovery.steps_of_scores or recovery.recover_steps):
        with torch.no_grad(), evaluating(dense):
            taught = forward(dense, inputs)
            imitation(forward(copied(dense).train(), inputs), taught)
    if recovery.distill_features == 0:
        return
    with evaluating(dense), torch.no_grad(), watching(dense) as hidden:
        forward(dense, inputs)
    if not compared(hidden, hidden, recovery.distill_modules):
        raise ConfigError(
            "recovery.distill_features compares attention maps of hidden layers, and no module of "
            "this model returns any. Set it to 0; recovery.distill compares outputs."
        )
