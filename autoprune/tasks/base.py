"""What a task is, and the registry of them."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import nn

from autoprune.core.function_identity import source_of
from autoprune.core.registry import Registry
from autoprune.core.yardstick import Yardstick
from autoprune.errors import ConfigError
from autoprune.surgery.nested import Inputs

Split = Literal["train", "search", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def check_task(task: object) -> None:
    """Raise `ConfigError` if ``task`` is no task, for instance the loaders themselves."""
    parts = [*Task.__annotations__, *(name for name in vars(Task) if not name.startswith("_"))]
    missing = [name for name in parts if not hasattr(task, name)]
    if missing:
        raise ConfigError(
            "task must be an object like autoprune.Classification({'train': ..., 'search': ..., "
            f"'test': ...}}). Got {type(task).__name__}, which lacks {', '.join(missing)}. "
            "autoprune.tasks.LoadedTask has most of them for a task of your own."
        )


class Metric(Protocol):
    """Gathers a metric over the batches of a split; higher is better."""

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in what `Task.outputs` gave of one batch."""
        ...

    def compute(self) -> float:
        """Return the metric over everything taken in."""
        ...


@runtime_checkable
class HasNotes(Protocol):
    """A metric that knows when a split tells too little."""

    def notes(self) -> list[str]:
        """Return what stands out in what was taken in, as ends of "The search split has ..."."""
        ...


@runtime_checkable
class HasClasses(Protocol):
    """A task whose targets are classes."""

    def classes(self, batch: Any) -> set[int]:
        """Return the classes that the samples of a batch have."""
        ...


@runtime_checkable
class HasLabels(Protocol):
    """A task whose samples have one class each."""

    def labels(self, batch: Any) -> list[int]:
        """Return the class of each sample of a batch, in their order."""
        ...


class Task(Protocol):
    """Data, loss and metric of one kind of problem; `LoadedTask` has most of it.

    Splits: ``train`` for fine-tuning and calibration, ``search`` for scores, ``test`` for one
    measurement at the end. No sample is in two of them.

    Attributes:
        name: Registered name.
        metric_name: Name of the metric, for people.
        higher_is_better: Whether the metric is better the higher it is, as it is shown; what
            `Metric` gives always is.
        is_share: Whether the metric is a share, in ``[0, 1]``: it is shown in percent, and drops
            of it are told in points; of another one in its own unit.
        has_loss: Whether `loss` can be trained on. Without it a pruned model learns to give what
            the dense one gives.
        forwards: Forwards of the model that `outputs` takes of a model in eval mode; where
            gradients are enabled it is one.
        one_forward: Whether `outputs` is one forward of `inputs`, of a model in eval mode, so that
            what runs before a cut may be shared between models.
        protect: Shell patterns of units that are never pruned, besides those of the search space:
            something outside of the model may rely on their width.
    """

    name: str
    metric_name: str
    higher_is_better: bool
    is_share: bool
    has_loss: bool
    forwards: int
    one_forward: bool
    protect: Sequence[str]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What changes loss or metric, as plain JSON types; scores of others are kept apart."""
        ...

    def batches(self, split: Split) -> Iterator[Any]:
        """Yield the batches of one pass, checked.

        Raises:
            DataError: If the user's loader raises, yields nothing, or yields something else.
        """
        ...

    def loader(self, split: Split) -> Any:
        """Return the user's own loader of a split, to seed its shuffling."""
        ...

    def trace_inputs(self, samples: int) -> Inputs:
        """Return the arguments of one forward of the first search samples.

        Raises:
            DataError: If the first batch is smaller than that.
        """
        ...

    def inputs(self, batch: Any) -> Inputs:
        """Return the arguments of the model's forward in eval mode."""
        ...

    def samples(self, batch: Any) -> int:
        """Return the number of samples in a batch."""
        ...

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Run the model, in the mode it is in, and return what loss and metric look at.

        Where gradients are enabled, only the loss is asked for, whatever the mode.
        """
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
        """Raise `DataError` if what the model gives does not fit the task or the targets."""
        ...


def identity_of(task: Task) -> dict[str, Any]:
    """Return what tells tasks apart whose scores must not be mixed up, as plain JSON types.

    Of a class that is not ours it holds what its code comes to.
    """
    own = type(task)
    found = {"name": task.name, "settings": dict(task.settings)}
    if own.__module__.startswith("autoprune."):
        return found
    return found | {"class": own.__qualname__, "code": source_of(own)}


def yardstick_of(task: Task, dense_macs: int | None = None) -> Yardstick:
    """Return how the figures of a task are to be read.

    Args:
        task: The task.
        dense_macs: MACs of the dense model, if they are known.
    """
    return Yardstick(
        metric=task.metric_name,
        higher_is_better=task.higher_is_better,
        is_share=task.is_share,
        dense_macs=dense_macs,
    )


def shown(task: Task, quality: float | None) -> float | None:
    """Return the metric of a quality, if there is one; see `Yardstick.shown`."""
    own = Yardstick(higher_is_better=task.higher_is_better)
    return None if quality is None else own.shown(quality)


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


TASKS: Registry[Callable[..., Task]] = Registry(
    "task", group="autoprune.tasks", form=("batches", "outputs", "loss", "metric")
)


def create_task(name: str, data: Any, **settings: Any) -> Task:
    """Return the task called ``name`` over what the user's data function returned.

    Args:
        name: A registered name.
        data: The splits.
        settings: What the task takes besides.

    Raises:
        ConfigError: If there is no such task, or it does not take these settings.
        DataError: If the data lacks a split.
    """
    return make_task(TASKS.get(name), name, data, settings)


def make_task(
    make: Callable[..., Task], name: str, data: Any, settings: Mapping[str, Any]
) -> Task:
    """Return what a task's class makes of data and settings.

    Raises:
        ConfigError: If it does not take these settings.
        DataError: If the data lacks a split.
    """
    signature = inspect.signature(make)
    try:
        signature.bind(data, **settings)
    except TypeError as err:
        known = [*signature.parameters][1:]
        takes = f"Allowed are: {', '.join(known)}." if known else "It takes no settings."
        raise ConfigError(f"The task {name!r} cannot be set up so: {err}. {takes}") from err
    return make(data, **settings)
