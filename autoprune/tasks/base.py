"""What a task is, and the registry of them."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch

from autoprune.core.registry import Registry
from autoprune.errors import ConfigError

Split = Literal["train", "search", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def check_task(task: object) -> None:
    """Raise `ConfigError` if ``task`` is no task, for instance the loaders themselves."""
    if not hasattr(task, "check_outputs"):
        raise ConfigError(
            "task must be an object like autoprune.Classification({'train': ..., 'search': ..., "
            f"'test': ...}}). Got {type(task).__name__}."
        )


class Metric(Protocol):
    """Gathers a metric over the batches of a split; higher is better."""

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in one batch."""
        ...

    def compute(self) -> float:
        """Return the metric over everything taken in."""
        ...


class Task(Protocol):
    """Data, loss and metric of one kind of problem.

    Splits: ``train`` for fine-tuning and calibration, ``search`` for scores, ``test`` for one
    measurement at the end. No sample is in two of them.

    Attributes:
        name: Registered name.
        metric_name: Name of the metric, for people.
    """

    name: str
    metric_name: str

    def batches(self, split: Split) -> Iterator[Any]:
        """Yield the batches of one pass, checked.

        Raises:
            DataError: If the user's loader raises, yields nothing, or yields something else.
        """
        ...

    def loader(self, split: Split) -> Any:
        """Return the user's own loader of a split, to seed its shuffling."""
        ...

    def inputs(self, batch: Any) -> tuple[Any, ...]:
        """Return the positional arguments of the model's forward."""
        ...

    def samples(self, batch: Any) -> int:
        """Return the number of samples in a batch."""
        ...

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar that gradients flow through.

        Paired tests ask it, and a metric, of slices of a batch and its outputs as well.
        """
        ...

    def metric(self) -> Metric:
        """Return a fresh metric."""
        ...

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` if the model's outputs do not fit the task or the targets."""
        ...


@runtime_checkable
class HasLogits(Protocol):
    """A task whose outputs are distributions, so that two models can be compared by them."""

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the model's outputs as logits, ``... x classes``."""
        ...


def need_logits(task: Task, why: str) -> HasLogits:
    """Return the task, if it knows the logits in its model's outputs.

    Args:
        task: The task.
        why: The setting that needs them, for the message.

    Raises:
        ConfigError: If it does not.
    """
    if not isinstance(task, HasLogits):
        raise ConfigError(
            f"{why} compares outputs with the dense model's, and the task {task.name!r} does not "
            "say where its logits are. Give it a method 'logits(outputs)' that returns a tensor "
            "[..., classes], or leave that setting as it is."
        )
    return task


TASKS: Registry[Callable[[Any], Task]] = Registry("task")


def create_task(name: str, data: Any) -> Task:
    """Return the task called ``name`` over what the user's data function returned.

    Raises:
        ConfigError: If there is no such task.
        DataError: If the data lacks a split.
    """
    return TASKS.get(name)(data)
